//! The questions of administrators. Each is one statement, which is one snapshot; each list goes along an index from where
//! the page before it ended.

mod keys;
mod organisations;
mod units;
mod users;

use std::net::IpAddr;

use doorward_domain::{
    audit::chain::{Chain, RecordFilter, StoredRecord},
    catalogue::{Catalogue, Ending, KeyCounts, OrganisationReference},
    change::Once,
    clock::Timestamp,
    directory::{Status, StoreFuture},
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    name::CanonicalName,
    passwords::PasswordHash,
    resource::{
        KeyDetails, KeyFilter, Organisation, OrganisationFilter, Page, PageRequest, Stored, Unit, UnitFilter,
        UserDetails, UserFilter,
    },
    rules::Overrides,
    session::{PastSession, SessionNumber},
};

use super::{
    PostgresDirectory,
    columns::get,
    directory::{query, query_one},
    past, records,
    values::big,
};
use crate::words;

impl Catalogue for PostgresDirectory {
    fn find_organisation(
        &self,
        organisation: OrganisationReference,
    ) -> StoreFuture<'_, Option<Stored<Organisation>>> {
        Box::pin(self.ask(async move |connection| organisations::find(connection, &organisation).await))
    }

    fn list_organisations(
        &self,
        filter: OrganisationFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Organisation>>> {
        Box::pin(self.ask(async move |connection| organisations::list(connection, &filter, &page).await))
    }

    fn get_overrides(&self, organisation: OrganisationId) -> StoreFuture<'_, Overrides> {
        Box::pin(
            self.ask(async move |connection| organisations::get_overrides(connection, organisation).await),
        )
    }

    fn find_unit(&self, organisation: OrganisationId, id: UnitId) -> StoreFuture<'_, Option<Stored<Unit>>> {
        Box::pin(self.ask(async move |connection| units::find(connection, organisation, id).await))
    }

    fn find_units(&self, organisation: OrganisationId, ids: Vec<UnitId>) -> StoreFuture<'_, Vec<UnitId>> {
        Box::pin(self.ask(async move |connection| units::find_some(connection, organisation, &ids).await))
    }

    fn list_units(
        &self,
        organisation: OrganisationId,
        filter: UnitFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Unit>>> {
        Box::pin(
            self.ask(async move |connection| units::list(connection, organisation, &filter, &page).await),
        )
    }

    fn find_user(&self, organisation: OrganisationId, id: UserId) -> StoreFuture<'_, Option<UserDetails>> {
        Box::pin(self.ask(async move |connection| users::find(connection, organisation, id).await))
    }

    fn find_users(
        &self,
        organisation: OrganisationId,
        names: Vec<CanonicalName>,
        ids: Vec<UserId>,
    ) -> StoreFuture<'_, Vec<(UserDetails, Option<PasswordHash>)>> {
        Box::pin(
            self.ask(async move |connection| users::find_some(connection, organisation, &names, &ids).await),
        )
    }

    fn list_users(
        &self,
        organisation: OrganisationId,
        filter: UserFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<UserDetails>> {
        Box::pin(
            self.ask(async move |connection| users::list(connection, organisation, &filter, &page).await),
        )
    }

    fn find_key(&self, organisation: OrganisationId, id: KeyId) -> StoreFuture<'_, Option<KeyDetails>> {
        Box::pin(self.ask(async move |connection| keys::find(connection, organisation, id).await))
    }

    fn list_keys(
        &self,
        organisation: OrganisationId,
        filter: KeyFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<KeyDetails>> {
        Box::pin(self.ask(async move |connection| keys::list(connection, organisation, &filter, &page).await))
    }

    fn count_keys(&self, expires_before: Timestamp, unused_since: Timestamp) -> StoreFuture<'_, KeyCounts> {
        Box::pin(
            self.ask(async move |connection| keys::count(connection, expires_before, unused_since).await),
        )
    }

    fn list_session_addresses(
        &self,
        sessions: Vec<SessionNumber>,
    ) -> StoreFuture<'_, Vec<(SessionNumber, IpAddr)>> {
        Box::pin(self.ask(async move |connection| {
            let sql = "
                SELECT session.number, session.address
                FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (number, place)
                JOIN session ON session.number = wanted.number
                WHERE session.address IS NOT NULL ORDER BY wanted.place";
            let wanted: Vec<i64> = sessions.iter().map(|number| big(number.0)).collect();
            let mut found = Vec::new();
            for row in query(connection, sql, &[&wanted]).await? {
                let number = get(&row, 0)?;
                found.extend(get::<Option<IpAddr>>(&row, 1)?.map(|address| (number, address)));
            }
            Ok(found)
        }))
    }

    fn list_records(
        &self,
        organisation: Option<OrganisationId>,
        filter: RecordFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<StoredRecord>> {
        Box::pin(self.ask_for_records(async move |connection| {
            records::list(connection, organisation, &filter, &page).await
        }))
    }

    fn find_chain(&self, organisation: Option<OrganisationId>) -> StoreFuture<'_, Option<Chain>> {
        Box::pin(self.ask(async move |connection| records::find_chain(connection, organisation).await))
    }

    fn find_oldest_record(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(self.ask(async move |connection| records::oldest(connection).await))
    }

    fn find_ended_session(&self, session: SessionId) -> StoreFuture<'_, Option<PastSession>> {
        Box::pin(self.ask(async move |connection| past::find_session(connection, session).await))
    }

    fn find_ending(&self, session: PastSession) -> StoreFuture<'_, Option<Ending>> {
        Box::pin(self.ask(async move |connection| past::find_ending(connection, &session).await))
    }

    fn find_once(&self, caller: UserId, key: [u8; 32]) -> StoreFuture<'_, Option<Once>> {
        Box::pin(self.ask(async move |connection| {
            let sql = "SELECT request, made FROM once WHERE caller = $1 AND key = $2";
            query_one(connection, sql, &[&caller.to_bytes().as_slice(), &key.as_slice()], |row| {
                Ok(Once { caller, key, request: get(row, 0)?, made: get(row, 1)? })
            })
            .await
        }))
    }
}

/// The limit of a query for a page: one more than the page has, so that it knows whether it is the last.
fn one_more(page: &PageRequest) -> i64 {
    big(page.limit as u64).saturating_add(1)
}

fn status_word(status: Option<Status>) -> Option<&'static str> {
    status.map(words::status)
}

/// The texts of a page of a list by name. PostgreSQL takes no text with a zero in it, and none is stored.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: String,
    /// Whether it begins behind the first, not at it.
    is_behind: bool,
    /// Before this one.
    end: String,
}

impl Range {
    /// Begins behind the page before it, or at the prefix, and ends where names do not begin so any more.
    fn new(page: &PageRequest, prefix: Option<&String>) -> Self {
        let prefix = prefix.map_or("", String::as_str);
        let (first, is_behind) = match page.after.as_deref() {
            Some(after) if after >= prefix => (after, true),
            _ => (prefix, false),
        };
        let end = end_of_prefix(prefix);
        // What has a zero behind this text stands behind the text itself, and before all else that does.
        Self {
            first: up_to_zero(first).to_owned(),
            is_behind: is_behind || first.contains('\0'),
            end: up_to_zero(&end).to_owned(),
        }
    }
}

/// A text up to its first zero, which PostgreSQL would not take.
fn up_to_zero(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// What stands behind all texts that begin with `prefix`, and before the next; behind all names if there is no such text.
fn end_of_prefix(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return text;
        }
    }
    // Longer than any name, of the last of all characters, which no other character is folded to.
    String::from(char::MAX).repeat(CanonicalName::MAX_CHARACTERS + 1)
}

#[cfg(test)]
mod tests {
    use doorward_domain::name::fold;
    use proptest::prelude::*;

    use super::*;

    fn admits(range: &Range, name: &str) -> bool {
        let (first, end) = (range.first.as_str(), range.end.as_str());
        name >= first && (name != first || !range.is_behind) && name < end
    }

    proptest! {
        #[test]
        fn a_range_has_the_names_that_begin_so_behind_the_page_before(
            name in "[^\\pC]{1,6}",
            prefix in prop::option::of("[a-c\0\u{10fffe}\u{10ffff}\u{e000}\u{d7ff}é]{0,3}"),
            after in prop::option::of("[a-c\0\u{10ffff}é]{0,4}"),
            tail in "[a-c\u{10ffff}]{0,3}",
        ) {
            for name in [fold(&name), format!("{}{tail}", prefix.as_deref().unwrap_or_default().replace('\0', ""))] {
                let page = PageRequest { after: after.clone(), limit: 1 };
                let range = Range::new(&page, prefix.as_ref());
                let is_meant = prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix))
                    && after.as_deref().is_none_or(|after| {
                        // A cursor before the prefix is none of this list's.
                        prefix.as_deref().is_some_and(|prefix| after < prefix) || name.as_str() > after
                    });
                prop_assert_eq!(admits(&range, &name), is_meant, "{:?} {:?}", range, name);
                prop_assert!(!range.first.contains('\0') && !range.end.contains('\0'));
            }
        }
    }

    #[test]
    fn no_name_stands_behind_the_end_of_all() {
        let last = String::from(char::MAX).repeat(CanonicalName::MAX_CHARACTERS);
        let canonical = CanonicalName::new(&last).unwrap();
        assert!(canonical.as_str() < end_of_prefix("").as_str());
        assert!(canonical.as_str() < end_of_prefix(&last[..8]).as_str());
    }
}
