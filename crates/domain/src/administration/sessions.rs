//! Sessions: who is logged in, and ending that.

use std::{collections::HashMap, net::IpAddr};

use super::{AdminError, Answer, Tenant, not_a_place};
use crate::{
    audit::{AuditRecord, Event},
    change::Change,
    id::{KeyId, SessionId, UnitId, UserId},
    journal::{Entry, Outcome},
    resource::{Page, PageRequest},
    session::{PastSession, Scope, SessionNumber},
    session_table::{Live, SessionFilter, SessionPlace},
};

/// A live session.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The session.
    pub live: Live,
    /// From where its token was got, as far as it is known.
    pub address: Option<IpAddr>,
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichSessions {
    /// One.
    Session(SessionId),
    /// All of a user.
    User(UserId),
    /// All in a unit.
    Unit(UnitId),
    /// All made with a Web API key.
    Key(KeyId),
    /// All of the organisation.
    All,
}

/// The text of a place, which comes back as the cursor of the next page.
fn write_place(live: &Live) -> String {
    let identity = &live.identity;
    let key = identity.method.key().map_or_else(String::new, |key| key.to_string());
    format!("{}.{}.{key}.{}", identity.user, identity.unit, live.number.0)
}

fn read_place(text: &str) -> Option<SessionPlace> {
    let mut parts = text.split('.');
    let (user, unit) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let key = match parts.next()? {
        "" => None,
        key => Some(key.parse().ok()?),
    };
    Some(SessionPlace { user, unit, key, number: SessionNumber(parts.next()?.parse().ok()?) })
}

impl Tenant {
    /// Lists live sessions, by user, unit and key, then by age.
    pub async fn list_sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest,
    ) -> Answer<Page<SessionDetails>> {
        let after = page.after.as_deref().map(|text| read_place(text).ok_or_else(not_a_place)).transpose()?;
        let sessions = &self.doorkeeper().parts().sessions;
        let live = sessions.list(self.id(), filter, after, page.limit.saturating_add(1)).await?;
        let page = Page::of(live, page.limit, write_place);
        let numbers = page.items.iter().map(|live| live.number).collect();
        let addresses: HashMap<_, _> =
            self.catalogue().list_session_addresses(numbers).await?.into_iter().collect();
        Ok(page.map(|live| SessionDetails { address: addresses.get(&live.number).copied(), live }))
    }

    /// Ends sessions; none of them is accepted when this returns. Costs the same however many they are. A session that
    /// has ended already is not there any more.
    pub async fn end_sessions(&self, which: WhichSessions) -> Answer<()> {
        let audit = self.audit(Event::SessionsEnded);
        let (scope, audit) = match which {
            WhichSessions::Session(session) => return self.end_session(session, audit).await,
            WhichSessions::User(id) => {
                self.get_user(id).await?;
                (Scope::User(id), AuditRecord { user: Some(id), ..audit })
            }
            WhichSessions::Unit(id) => {
                self.get_unit(id).await?;
                (Scope::Unit(id), AuditRecord { unit: Some(id), ..audit })
            }
            WhichSessions::Key(id) => {
                let user = self.get_key(id).await?.key.value.user;
                (Scope::Key(user, id), AuditRecord { user: Some(user), key: Some(id), ..audit })
            }
            WhichSessions::All => (Scope::Organisation(self.id()), audit),
        };
        let change = Change::EndSessions { organisation: self.id(), scope };
        match self.submit(change, audit).await? {
            Outcome::Committed(_) => Ok(()),
            _ => Err(AdminError::NotFound),
        }
    }

    async fn end_session(&self, session: SessionId, audit: AuditRecord) -> Answer<()> {
        let found = self.doorkeeper().parts().sessions.examine(session).await?;
        let own = found.filter(|(_, identity)| identity.organisation == self.id());
        let Some((PastSession { number, last_used_at, .. }, identity)) = own else {
            self.settle().await?;
            return Err(AdminError::NotFound);
        };
        let audit = AuditRecord {
            unit: Some(identity.unit),
            user: Some(identity.user),
            key: identity.method.key(),
            session: Some(session),
            ..audit
        };
        let entry = Entry::Release { number, session, last_used_at, audit };
        self.doorkeeper().parts().journal.submit(entry).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_nobody_wrote_are_none() {
        for text in ["", ".", "x.y.z.1", "0.0.0.0", &format!("{}.{}.x.1", "0".repeat(32), "0".repeat(32))] {
            assert_eq!(read_place(text), None, "{text:?}");
        }
        let place = read_place(&format!("{}.{}..7", "0".repeat(32), "1".repeat(32))).unwrap();
        assert_eq!((place.key, place.number), (None, SessionNumber(7)));
    }
}
