//! What administrators manage: organisations, units, users and Web API keys, whole, as they are shown and changed.
//!
//! A login sees less of them and faster ([`crate::directory`]). What is here has a [`Revision`], so that a change can
//! say which state it was decided on.

use std::net::IpAddr;

use crate::{
    address::Network,
    clock::Timestamp,
    credential::KeyDigest,
    directory::{Role, Status},
    id::{KeyId, OrganisationId, UnitId, UserId},
    name::Name,
};

/// Counts the changes of one resource; the first state is 1. It never repeats while the resource lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Something as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// What is stored.
    pub value: T,
    /// Its revision.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed by an administrator.
    pub updated_at: Timestamp,
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// The code that its users log in on, unique.
    pub code: Name,
    /// What people call it.
    pub name: String,
    /// Whether it is the operator organisation; there is one at most, and it stays it.
    pub is_operator: bool,
    /// Whether it is in use or suspended.
    pub status: Status,
}

/// A unit of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// Its name, unique in the organisation.
    pub name: Name,
    /// Whether it is in use.
    pub status: Status,
}

/// A user of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The username, unique in the organisation.
    pub username: Name,
    /// The person's name.
    pub person_name: Option<String>,
    /// The person's e-mail address.
    pub email: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// Whether the user is in use.
    pub status: Status,
    /// The units the user works in, each once.
    pub units: Vec<UnitId>,
    /// The one of them that a login without a unit gets.
    pub default_unit: Option<UnitId>,
}

/// A user with what logins and password changes have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDetails {
    /// The user.
    pub user: Stored<User>,
    /// Whether the password must be changed before it gives a token.
    pub must_change_password: bool,
    /// When the user last got a token for a password.
    pub last_login_at: Option<Timestamp>,
}

/// What a Web API key is for (the old system's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Classification {
    /// Systems talk to each other with it.
    SystemicKey,
    /// It sits in an application that consumers have in their hands, so it must not be able to manage anything.
    ConsumerApplicationKey,
}

impl Classification {
    /// The word on the wire and in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SystemicKey => "SYSTEMIC_KEY",
            Self::ConsumerApplicationKey => "CONSUMER_APPLICATION_KEY",
        }
    }
}

/// A Web API key of a user, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its user, for whom its tokens speak.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub classification: Classification,
    /// Whether it is in use.
    pub status: Status,
    /// Whether it may introspect tokens.
    pub verifier: bool,
    /// From where it is accepted; from everywhere if there is none.
    pub allowed_addresses: Vec<Network>,
    /// The time from which it is no longer accepted.
    pub expires_at: Option<Timestamp>,
}

/// A Web API key with its secrets, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDetails {
    /// The key.
    pub key: Stored<Key>,
    /// The secret in use, and those that a rotation has replaced and that have not ended yet.
    pub secrets: Vec<KeySecret>,
}

/// What is known of a secret of a Web API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecret {
    /// Its last four characters; absent if it was stored without them.
    pub hint: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The time from which it is no longer accepted: that of a secret that was replaced.
    pub ends_at: Option<Timestamp>,
    /// When it was last used, written lazily.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    pub last_used_from: Option<IpAddr>,
}

/// A new secret of a Web API key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// Its digest, unique.
    pub digest: KeyDigest,
    /// Its last four characters.
    pub hint: String,
}

/// A part of a list that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Where the part before it ended, as [`Page::next`] told.
    pub after: Option<String>,
    /// How many items at most, one at least.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where it ends, if there are more.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page out of one item more than were asked for, if there are as many. `place` says where an item stands.
    pub fn of(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> String) -> Self {
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map(place)
        });
        Self { items, next: next.flatten() }
    }

    /// The page with each item turned into another.
    pub fn map<U>(self, turn: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(turn).collect(), next: self.next }
    }
}

/// Which organisations to list.
#[derive(Clone, Debug, Default)]
pub struct OrganisationFilter {
    /// The canonical form of their codes begins so.
    pub prefix: Option<String>,
    /// Their status.
    pub status: Option<Status>,
}

/// Which units to list.
#[derive(Clone, Debug, Default)]
pub struct UnitFilter {
    /// The canonical form of their names begins so.
    pub prefix: Option<String>,
    /// The canonical form of their name is this.
    pub name: Option<String>,
    /// Their status.
    pub status: Option<Status>,
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// The canonical form of their usernames begins so.
    pub prefix: Option<String>,
    /// The canonical form of their username is this.
    pub username: Option<String>,
    /// Their e-mail address, in either case.
    pub email: Option<String>,
    /// Their status.
    pub status: Option<Status>,
    /// They work in this unit.
    pub unit: Option<UnitId>,
}

/// Which Web API keys to list.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// Their user.
    pub user: Option<UserId>,
    /// Their status.
    pub status: Option<Status>,
    /// They expire before this time.
    pub expires_before: Option<Timestamp>,
    /// They were made before this time and not used since.
    pub unused_since: Option<Timestamp>,
}
