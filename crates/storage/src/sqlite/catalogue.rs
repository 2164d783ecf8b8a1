//! The questions of administrators. Each runs in one transaction, which is one snapshot; each list goes along an index
//! from where the page before it ended.

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
        KeyDetails, KeyFilter, Organisation, OrganisationFilter, Page, PageRequest, Revision, Stored, Unit,
        UnitFilter, UserDetails, UserFilter,
    },
    rules::Overrides,
    session::{PastSession, SessionNumber},
};
use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params, types::Value};

use super::{SqliteDirectory, audit, ended, words};

pub(super) use organisations::get_overrides;
pub(super) use users::list_with_hashes;

impl Catalogue for SqliteDirectory {
    fn find_organisation(
        &self,
        organisation: OrganisationReference,
    ) -> StoreFuture<'_, Option<Stored<Organisation>>> {
        self.ask(move |transaction| organisations::find(transaction, &organisation))
    }

    fn list_organisations(
        &self,
        filter: OrganisationFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Organisation>>> {
        self.ask(move |transaction| organisations::list(transaction, &filter, &page))
    }

    fn get_overrides(&self, organisation: OrganisationId) -> StoreFuture<'_, Overrides> {
        self.ask(move |transaction| get_overrides(transaction, organisation))
    }

    fn find_unit(&self, organisation: OrganisationId, id: UnitId) -> StoreFuture<'_, Option<Stored<Unit>>> {
        self.ask(move |transaction| units::find(transaction, organisation, id))
    }

    fn find_units(&self, organisation: OrganisationId, ids: Vec<UnitId>) -> StoreFuture<'_, Vec<UnitId>> {
        self.ask(move |transaction| units::find_some(transaction, organisation, &ids))
    }

    fn list_units(
        &self,
        organisation: OrganisationId,
        filter: UnitFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Unit>>> {
        self.ask(move |transaction| units::list(transaction, organisation, &filter, &page))
    }

    fn find_user(&self, organisation: OrganisationId, id: UserId) -> StoreFuture<'_, Option<UserDetails>> {
        self.ask(move |transaction| users::find(transaction, organisation, id))
    }

    fn find_users(
        &self,
        organisation: OrganisationId,
        names: Vec<CanonicalName>,
        ids: Vec<UserId>,
    ) -> StoreFuture<'_, Vec<(UserDetails, Option<PasswordHash>)>> {
        self.ask(move |transaction| users::find_some(transaction, organisation, &names, &ids))
    }

    fn list_users(
        &self,
        organisation: OrganisationId,
        filter: UserFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<UserDetails>> {
        self.ask(move |transaction| users::list(transaction, organisation, &filter, &page))
    }

    fn find_key(&self, organisation: OrganisationId, id: KeyId) -> StoreFuture<'_, Option<KeyDetails>> {
        self.ask(move |transaction| keys::find(transaction, organisation, id))
    }

    fn list_keys(
        &self,
        organisation: OrganisationId,
        filter: KeyFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<KeyDetails>> {
        self.ask(move |transaction| keys::list(transaction, organisation, &filter, &page))
    }

    fn count_keys(&self, expires_before: Timestamp, unused_since: Timestamp) -> StoreFuture<'_, KeyCounts> {
        self.ask(move |transaction| keys::count(transaction, expires_before, unused_since))
    }

    fn list_session_addresses(
        &self,
        sessions: Vec<SessionNumber>,
    ) -> StoreFuture<'_, Vec<(SessionNumber, IpAddr)>> {
        self.ask(move |transaction| {
            let mut statement =
                transaction.prepare_cached("SELECT address FROM session WHERE number = ?1")?;
            let mut found = Vec::new();
            for number in sessions {
                let address =
                    statement.query_row([number.0], |row| row.get::<_, Option<String>>(0)).optional()?;
                let address = address.flatten().and_then(|address| address.parse().ok());
                found.extend(address.map(|address| (number, address)));
            }
            Ok(found)
        })
    }

    fn list_records(
        &self,
        organisation: Option<OrganisationId>,
        filter: RecordFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<StoredRecord>> {
        self.ask_for_records(move |transaction| audit::list(transaction, organisation, &filter, &page))
    }

    fn find_chain(&self, organisation: Option<OrganisationId>) -> StoreFuture<'_, Option<Chain>> {
        self.ask(move |transaction| audit::find_chain(transaction, organisation))
    }

    fn find_oldest_record(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.ask(|transaction| audit::oldest(transaction))
    }

    fn find_ended_session(&self, session: SessionId) -> StoreFuture<'_, Option<PastSession>> {
        self.ask(move |transaction| ended::find(transaction, session))
    }

    fn find_ending(&self, session: PastSession) -> StoreFuture<'_, Option<Ending>> {
        self.ask(move |transaction| ended::find_ending(transaction, &session))
    }

    fn find_once(&self, caller: UserId, key: [u8; 32]) -> StoreFuture<'_, Option<Once>> {
        self.ask(move |transaction| {
            let sql = "SELECT request, made FROM once WHERE caller = ?1 AND key = ?2";
            let mut statement = transaction.prepare_cached(sql)?;
            let found = statement.query_row(params![caller.to_bytes(), key], |row| {
                Ok(Once { caller, key, request: row.get(0)?, made: row.get(1)? })
            });
            found.optional()
        })
    }
}

/// Reads the rows of a query, one more than a page has so that the page knows whether it is the last.
fn query<T>(
    connection: &Connection,
    sql: &str,
    row: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(row, read)?.collect()
}

/// The limit of a query for a page.
fn one_more(page: &PageRequest) -> i64 {
    i64::try_from(page.limit.saturating_add(1)).unwrap_or(i64::MAX)
}

/// Where a list by name begins: behind the page before it, or at the prefix.
fn first<'a>(page: &'a PageRequest, prefix: Option<&'a String>) -> (&'a str, bool) {
    let prefix = prefix.map_or("", String::as_str);
    match page.after.as_deref() {
        Some(after) if after >= prefix => (after, true),
        _ => (prefix, false),
    }
}

/// What stands behind all texts that begin with `prefix`, and before the next. SQLite puts no bytes at all behind every
/// text, and texts in the order of their code points.
fn end_of_prefix(prefix: Option<&String>) -> Value {
    let mut text = prefix.cloned().unwrap_or_default();
    while let Some(last) = text.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Value::Text(text);
        }
    }
    Value::Blob(Vec::new())
}

fn status_word(status: Option<Status>) -> Option<&'static str> {
    status.map(words::status)
}

/// Reads what all resources have from the columns that begin at `first`: revision, created_at, updated_at.
fn stored<T>(row: &Row<'_>, first: usize, value: T) -> Result<Stored<T>> {
    Ok(Stored {
        value,
        revision: Revision(row.get(first)?),
        created_at: Timestamp::from_millis(row.get(first + 1)?),
        updated_at: Timestamp::from_millis(row.get(first + 2)?),
    })
}
