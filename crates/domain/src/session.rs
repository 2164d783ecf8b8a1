//! A session: the server's record behind a token, and whom it speaks for.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    credential::TokenDigest,
    id::{KeyId, OrganisationId, UnitId, UserId},
};

/// A place in the order in which sessions are issued and ended. Each issue and each ending takes the next number and
/// none is used twice, so "all sessions of this user up to number N have ended" is one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// How the holder of a token proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// With a username and a password.
    Password,
    /// With this Web API key.
    WebApiKey(KeyId),
}

impl Method {
    /// The word for it on the wire, in metrics and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::WebApiKey(_) => "web_api_key",
        }
    }

    /// The key, if there is one.
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Password => None,
            Self::WebApiKey(key) => Some(key),
        }
    }
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its code, as it was entered.
    pub organisation_code: String,
    /// Whether it is the operator organisation, whose administrators may manage every organisation.
    pub is_operator: bool,
    /// The unit the user works in with this token.
    pub unit: UnitId,
    /// Its name.
    pub unit_name: String,
    /// The user.
    pub user: UserId,
    /// Their username, as it was entered.
    pub username: String,
    /// How they logged in.
    pub method: Method,
}

/// What is remembered of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The token's digest.
    pub digest: TokenDigest,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it was last used, or issued.
    pub last_used_at: Timestamp,
    /// How long it lives without a use; `None` if use does not matter. At most [`Session::LONGEST_IDLE`].
    pub idle: Option<Duration>,
    /// When it ends however much it is used.
    pub ends_at: Timestamp,
}

impl Session {
    /// The longest idle time: what fits 32 bits of milliseconds, a little over 49 days.
    pub const LONGEST_IDLE: Duration = Duration::from_millis(u32::MAX as u64);

    /// When it ends if it is not used again.
    pub fn expires_at(&self) -> Timestamp {
        expiry(self.last_used_at, self.idle, self.ends_at)
    }
}

/// The one place where expiry is computed.
pub(crate) fn expiry(last_used_at: Timestamp, idle: Option<Duration>, ends_at: Timestamp) -> Timestamp {
    idle.map_or(ends_at, |idle| last_used_at.plus(idle).min(ends_at))
}

/// How long it is remembered of a session that has ended how that came about.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A session that has ended and leaves memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Its number.
    pub number: SessionNumber,
    /// Its organisation; `None` if only the store knows.
    pub organisation: Option<OrganisationId>,
    /// When it was last used, of which the store may not know.
    pub last_used_at: Timestamp,
}

/// What is remembered of a session whether or not it is live, to tell how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSession {
    /// Its number.
    pub number: SessionNumber,
    /// The organisation; `None` if it is not known any more.
    pub organisation: Option<OrganisationId>,
    /// The unit.
    pub unit: UnitId,
    /// The user.
    pub user: UserId,
    /// How they logged in.
    pub method: Method,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it was last used, or issued.
    pub last_used_at: Timestamp,
    /// How long it lived without a use; `None` if use did not matter.
    pub idle: Option<Duration>,
    /// When it was to end however much it was used.
    pub ends_at: Timestamp,
    /// When it was released, and by whom if not by its holder.
    pub released: Option<(Timestamp, Option<UserId>)>,
}

impl PastSession {
    /// When it ended if nothing ended it before.
    pub fn expires_at(&self) -> Timestamp {
        expiry(self.last_used_at, self.idle, self.ends_at)
    }
}

/// What can be ended, with all the sessions under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All sessions of an organisation.
    Organisation(OrganisationId),
    /// All sessions in a unit.
    Unit(UnitId),
    /// All sessions of a user.
    User(UserId),
    /// All sessions made with a Web API key of this user.
    Key(UserId, KeyId),
}
