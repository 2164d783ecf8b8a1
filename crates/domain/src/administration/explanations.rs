//! Explaining tokens: why one is or is not in force. Its holder and other services never learn as much.

use std::net::IpAddr;

use super::{Administrator, Answer};
use crate::{
    audit::Origin,
    catalogue::{Ending, OrganisationReference},
    change::EndCause,
    clock::Timestamp,
    credential::PlainToken,
    doorkeeper::is_allowed,
    id::{KeyId, OrganisationId, SessionId, UnitId, UserId},
    session::PastSession,
};

/// How a token stands, for an administrator.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Whether it is in force, and if not, why.
    pub standing: Standing,
    /// Its session, if there is or was one that the administrator may see.
    pub session: Option<ExplainedSession>,
    /// What an address has to do with it, if one was given.
    pub address: Option<AddressStanding>,
}

/// Whether a token is in force, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in force.
    Live,
    /// It has not the form of a token.
    NotAToken,
    /// It was never issued here, or for an organisation that the administrator may not see, or has ended so long ago
    /// that nothing is remembered of it ([`crate::session::REMEMBERED_FOR`]).
    Unknown,
    /// It was released.
    Released {
        /// When.
        at: Timestamp,
        /// By whom, if not by its holder.
        by: Option<UserId>,
    },
    /// It was not used for so long that it ended.
    Idle {
        /// When it ended.
        at: Timestamp,
    },
    /// It reached the end of its life, however much it was used.
    CapReached {
        /// When.
        at: Timestamp,
    },
    /// All sessions of its organisation, unit, user or Web API key were ended.
    Ended {
        /// When.
        at: Timestamp,
        /// Why; `None` for a cause that only a later version knows.
        cause: Option<EndCause>,
        /// By whom; `None` for what the operator did on the machine itself.
        by: Option<UserId>,
    },
}

/// Something by its id, and by its name if it is still there.
#[derive(Clone, Debug)]
pub struct Named<Id> {
    /// The id.
    pub id: Id,
    /// The name that it has now.
    pub name: Option<String>,
}

/// The session of a token that is explained.
#[derive(Clone, Debug)]
pub struct ExplainedSession {
    /// Its id.
    pub id: SessionId,
    /// What is known of it.
    pub past: PastSession,
    /// Its organisation, if that is known.
    pub organisation: Option<Named<OrganisationId>>,
    /// Its unit.
    pub unit: Named<UnitId>,
    /// Its user.
    pub user: Named<UserId>,
    /// The Web API key that it was made with.
    pub key: Option<Named<KeyId>>,
    /// The username of whoever ended it, if they are still there and may be seen.
    pub ended_by: Option<String>,
}

/// What the rules say of an address. A token in force is accepted from everywhere; getting one is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressStanding {
    /// A token like this one is given to it.
    Permitted,
    /// The organisation's rules give it no token.
    DeniedByOrganisation,
    /// The Web API key is not accepted from there.
    DeniedByKey,
}

impl Administrator {
    /// Explains a token. This is no use of it.
    pub async fn explain(&self, token: &str, address: Option<IpAddr>) -> Answer<Explanation> {
        let nothing = |standing| Explanation { standing, session: None, address: None };
        let Some(token) = PlainToken::parse(token.as_bytes()) else {
            return Ok(nothing(Standing::NotAToken));
        };
        let doorkeeper = &self.administration.doorkeeper;
        let id = token.digest().session();
        // First, for it may learn of uses.
        let is_live = doorkeeper.peek(&token).await?.is_some();
        let (past, is_live) = match doorkeeper.parts().sessions.examine(id).await? {
            Some((past, _)) => (Some(past), is_live),
            None => match doorkeeper.find_unswept(id) {
                Some(past) => (Some(past), false),
                None => {
                    let ended = self.administration.catalogue.find_ended_session(id).await?;
                    if ended.is_none() {
                        doorkeeper.parts().sessions.require_past()?;
                    }
                    (ended, false)
                }
            },
        };
        let may_see = |past: &PastSession| self.is_operator || past.organisation == Some(self.organisation);
        let Some(past) = past.filter(may_see) else { return Ok(nothing(Standing::Unknown)) };
        let standing = if is_live {
            Standing::Live
        } else {
            let ending = self.administration.catalogue.find_ending(past.clone()).await?;
            how_it_ended(&past, ending)
        };
        let address = match address {
            Some(address) => self.judge_address(&past, address).await?,
            None => None,
        };
        let session = Some(self.name(id, past, &standing).await?);
        Ok(Explanation { standing, session, address })
    }

    async fn judge_address(&self, past: &PastSession, address: IpAddr) -> Answer<Option<AddressStanding>> {
        let Some(organisation) = past.organisation else { return Ok(None) };
        let catalogue = &self.administration.catalogue;
        let overrides = catalogue.get_overrides(organisation).await?;
        let rules = self.administration.doorkeeper.parts().rules.with(&overrides);
        if !rules.addresses.permits(Some(address)) {
            return Ok(Some(AddressStanding::DeniedByOrganisation));
        }
        let key = match past.method.key() {
            Some(key) => catalogue.find_key(organisation, key).await?,
            None => None,
        };
        let origin = Origin { address: Some(address), ..Origin::default() };
        let is_denied = key.is_some_and(|key| !is_allowed(&key.key.value.allowed_addresses, &origin));
        Ok(Some(if is_denied { AddressStanding::DeniedByKey } else { AddressStanding::Permitted }))
    }

    /// Finds the names of all that a session belongs to.
    async fn name(&self, id: SessionId, past: PastSession, standing: &Standing) -> Answer<ExplainedSession> {
        let catalogue = &self.administration.catalogue;
        let mut session = ExplainedSession {
            id,
            organisation: past.organisation.map(|id| Named { id, name: None }),
            unit: Named { id: past.unit, name: None },
            user: Named { id: past.user, name: None },
            key: past.method.key().map(|id| Named { id, name: None }),
            ended_by: None,
            past,
        };
        let Some(organisation) = &mut session.organisation else { return Ok(session) };
        let found = catalogue.find_organisation(OrganisationReference::Id(organisation.id)).await?;
        organisation.name = found.map(|found| found.value.code.to_string());
        let found = catalogue.find_unit(organisation.id, session.unit.id).await?;
        session.unit.name = found.map(|found| found.value.name.to_string());
        session.user.name = self.find_username(organisation.id, session.user.id).await?;
        if let Some(key) = &mut session.key {
            let found = catalogue.find_key(organisation.id, key.id).await?;
            key.name = found.map(|found| found.key.value.name);
        }
        if let Standing::Released { by: Some(by), .. } | Standing::Ended { by: Some(by), .. } = standing {
            // Somebody of the organisation, or an operator, whom other operators may see.
            session.ended_by = self.find_username(organisation.id, *by).await?;
            if session.ended_by.is_none() {
                session.ended_by = self.find_username(self.organisation, *by).await?;
            }
        }
        Ok(session)
    }

    async fn find_username(&self, organisation: OrganisationId, user: UserId) -> Answer<Option<String>> {
        let found = self.administration.catalogue.find_user(organisation, user).await?;
        Ok(found.map(|found| found.user.value.username.to_string()))
    }
}

/// What ended a session first: its release, an ending, or its own time.
fn how_it_ended(past: &PastSession, ending: Option<Ending>) -> Standing {
    let expires_at = past.expires_at();
    let by_itself = if expires_at >= past.ends_at {
        Standing::CapReached { at: expires_at }
    } else {
        Standing::Idle { at: expires_at }
    };
    let released = past.released.map(|(at, by)| (at, Standing::Released { at, by }));
    let ended = ending.map(|Ending { at, cause, actor }| (at, Standing::Ended { at, cause, by: actor }));
    let all = [Some((expires_at, by_itself)), released, ended];
    all.into_iter().flatten().min_by_key(|(at, _)| *at).map_or(by_itself, |(_, standing)| standing)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::{Method, SessionNumber};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + 1_000 * second)
    }

    fn past(idle: Option<u64>, released: Option<i64>) -> PastSession {
        PastSession {
            number: SessionNumber(1),
            organisation: None,
            unit: UnitId::from_bytes([1; 16]),
            user: UserId::from_bytes([2; 16]),
            method: Method::Password,
            issued_at: at(0),
            last_used_at: at(10),
            idle: idle.map(Duration::from_secs),
            ends_at: at(100),
            released: released.map(|second| (at(second), None)),
        }
    }

    fn ending(second: i64) -> Option<Ending> {
        Some(Ending { at: at(second), cause: Some(EndCause::UserDisabled), actor: None })
    }

    #[test]
    fn what_came_first_is_the_reason() {
        let disabled = Standing::Ended { at: at(40), cause: Some(EndCause::UserDisabled), by: None };
        let released = Standing::Released { at: at(50), by: None };
        assert_eq!(how_it_ended(&past(Some(60), None), None), Standing::Idle { at: at(70) });
        assert_eq!(how_it_ended(&past(Some(90), None), None), Standing::CapReached { at: at(100) });
        assert_eq!(how_it_ended(&past(None, None), None), Standing::CapReached { at: at(100) });
        assert_eq!(how_it_ended(&past(Some(60), Some(50)), None), released);
        assert_eq!(how_it_ended(&past(Some(60), Some(50)), ending(40)), disabled);
        assert_eq!(how_it_ended(&past(Some(60), Some(50)), ending(55)), released);
        assert_eq!(how_it_ended(&past(Some(20), None), ending(40)), Standing::Idle { at: at(30) });
    }
}
