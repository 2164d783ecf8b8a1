//! The directory: organisations, units, users and Web API keys as logins and changes see them.

use std::{future::Future, pin::Pin};

use crate::{
    clock::Timestamp,
    credential::KeyDigest,
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::StoreError,
    name::CanonicalName,
    passwords::PasswordHash,
    session::{Scope, SessionNumber},
};

/// A future that a store gives back; boxed, for which store it is is known only when the server starts.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Whether something may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It may.
    Active,
    /// It may not: a suspended organisation, a disabled unit, user or key.
    Disabled,
}

/// What a user may do beside using APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing else.
    Member,
    /// Manage their organisation; in the operator organisation, manage all.
    Administrator,
}

/// An organisation as a login sees it.
#[derive(Clone, Debug)]
pub struct OrganisationRecord {
    /// Its id.
    pub id: OrganisationId,
    /// Its code, as it was entered.
    pub code: String,
    /// Whether it is the operator organisation.
    pub is_operator: bool,
    /// Whether it is in use or suspended.
    pub status: Status,
    /// Its sessions up to this number have ended.
    pub ended: SessionNumber,
}

/// A unit as a login sees it.
#[derive(Clone, Debug)]
pub struct UnitRecord {
    /// Its id.
    pub id: UnitId,
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub status: Status,
    /// Its sessions up to this number have ended.
    pub ended: SessionNumber,
    /// Whether it is the default unit of the user.
    pub is_default: bool,
}

/// A user as a login sees it.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// The id.
    pub id: UserId,
    /// The username, as it was entered.
    pub username: String,
    /// Whether the user is in use.
    pub status: Status,
    /// The user's sessions up to this number have ended.
    pub ended: SessionNumber,
    /// The stored hash of the password, if there is one.
    pub password_hash: Option<PasswordHash>,
    /// Whether the password must be changed before it gives a token.
    pub must_change_password: bool,
}

/// A Web API key as a login sees it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Whether it is in use.
    pub status: Status,
    /// The time from which it is no longer accepted, if there is one.
    pub expires_at: Option<Timestamp>,
    /// Its sessions up to this number have ended.
    pub ended: SessionNumber,
}

/// A user with everything a login decides on, read in one snapshot.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's organisation.
    pub organisation: OrganisationRecord,
    /// The user.
    pub user: UserRecord,
    /// The units the user works in.
    pub units: Vec<UnitRecord>,
}

/// What the search for a username found.
#[derive(Clone, Debug)]
pub enum NameLookup {
    /// No organisation has this code.
    UnknownOrganisation,
    /// The organisation is there, the user is not.
    UnknownUser(OrganisationId),
    /// Here they are.
    Found(Box<Account>),
}

/// Reading the directory. Failing means that the store did not answer, never that something is absent.
pub trait Directory: Send + Sync {
    /// Finds a user by organisation code and username.
    fn find_by_name(
        &self,
        organisation: CanonicalName,
        username: CanonicalName,
    ) -> StoreFuture<'_, NameLookup>;

    /// Finds a Web API key and its user by the digest of the key.
    fn find_by_key(&self, digest: KeyDigest) -> StoreFuture<'_, Option<(KeyRecord, Box<Account>)>>;
}

/// A change of the directory, to be committed through the journal.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds an organisation.
    CreateOrganisation {
        /// Its id.
        id: OrganisationId,
        /// Its code.
        code: String,
        /// The code's canonical form, unique.
        canonical: CanonicalName,
        /// Whether it is the operator organisation; there is one at most.
        is_operator: bool,
    },
    /// Adds a unit to an organisation.
    CreateUnit {
        /// Its id.
        id: UnitId,
        /// Its organisation.
        organisation: OrganisationId,
        /// Its name.
        name: String,
        /// The name's canonical form, unique in the organisation.
        canonical: CanonicalName,
    },
    /// Adds a user to an organisation.
    CreateUser {
        /// The id.
        id: UserId,
        /// The organisation.
        organisation: OrganisationId,
        /// The username.
        username: String,
        /// The username's canonical form, unique in the organisation.
        canonical: CanonicalName,
        /// What the user may do.
        role: Role,
        /// The units the user works in; the first is the default.
        units: Vec<UnitId>,
        /// The hash of the password.
        password_hash: PasswordHash,
    },
    /// Adds a Web API key to a user.
    CreateKey {
        /// Its id.
        id: KeyId,
        /// Its organisation.
        organisation: OrganisationId,
        /// Its user.
        user: UserId,
        /// What people call it.
        name: String,
        /// The digest of the key, unique.
        digest: KeyDigest,
        /// The time from which it is no longer accepted.
        expires_at: Option<Timestamp>,
    },
    /// Enables or disables; disabling ends the sessions below.
    SetStatus {
        /// The organisation that it belongs to.
        organisation: OrganisationId,
        /// What is enabled or disabled.
        scope: Scope,
        /// Its new status.
        status: Status,
    },
    /// Sets a password and ends the user's sessions.
    SetPassword {
        /// The user's organisation.
        organisation: OrganisationId,
        /// The user.
        user: UserId,
        /// The hash of the new password.
        hash: PasswordHash,
        /// Whether it must be changed before it gives a token.
        must_change: bool,
    },
}

impl Change {
    /// The sessions that this change ends.
    pub fn ends(&self) -> Option<Scope> {
        match self {
            Self::SetStatus { scope, status: Status::Disabled, .. } => Some(*scope),
            Self::SetPassword { user, .. } => Some(Scope::User(*user)),
            Self::SetStatus { status: Status::Active, .. }
            | Self::CreateOrganisation { .. }
            | Self::CreateUnit { .. }
            | Self::CreateUser { .. }
            | Self::CreateKey { .. } => None,
        }
    }
}
