//! The directory: organisations, units, users and Web API keys as logins and changes see them.

use std::{future::Future, pin::Pin};

use crate::{
    address::Network,
    clock::Timestamp,
    credential::KeyDigest,
    id::{KeyId, OrganisationId, UnitId, UserId},
    journal::StoreError,
    name::CanonicalName,
    passwords::PasswordHash,
    resource::Classification,
    rules::Overrides,
    session::SessionNumber,
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
    /// What it overrides of the rules.
    pub overrides: Overrides,
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
    /// What the user may do.
    pub role: Role,
    /// Whether the user is in use.
    pub status: Status,
    /// The user's sessions up to this number have ended.
    pub ended: SessionNumber,
    /// The stored hash of the password, if there is one.
    pub password_hash: Option<PasswordHash>,
    /// Whether the password must be changed before it gives a token.
    pub must_change_password: bool,
    /// When the password was set.
    pub password_set_at: Option<Timestamp>,
    /// From where the user has logged in with it, and when last.
    pub known_addresses: Vec<KnownAddress>,
}

/// Where a user has logged in from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// The addresses that count as one client.
    pub network: Network,
    /// When a login from there last succeeded.
    pub succeeded_at: Timestamp,
}

/// A Web API key as a login sees it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub classification: Classification,
    /// Whether it is in use.
    pub status: Status,
    /// Whether it may introspect tokens.
    pub verifier: bool,
    /// From where it is accepted; from everywhere if there is none.
    pub allowed_addresses: Vec<Network>,
    /// The time from which it is no longer accepted, if there is one.
    pub expires_at: Option<Timestamp>,
    /// The time from which the secret that was shown is no longer accepted, if another has replaced it.
    pub secret_ends_at: Option<Timestamp>,
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

/// What somebody who holds a token may do, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user's role.
    pub role: Role,
    /// The key's classification and whether it may introspect, where there is a key.
    pub key: Option<(Classification, bool)>,
    /// From where the key is accepted; from everywhere if there is none, and for no key.
    pub allowed_addresses: Vec<Network>,
    /// What the organisation overrides of the rules.
    pub overrides: Overrides,
}

/// What the search for a username found.
#[derive(Clone, Debug)]
pub enum NameLookup {
    /// No organisation has this code.
    UnknownOrganisation,
    /// The organisation is there, the user is not.
    UnknownUser(OrganisationRecord),
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

    /// Finds whom a token speaks for: a user, and the Web API key that it was got with.
    fn find_holder(&self, user: UserId, key: Option<KeyId>) -> StoreFuture<'_, Option<Holder>>;

    /// What an attacker may know of a user, beside the username and the code of the organisation: the organisation's
    /// name, the person's name and the e-mail address. Passwords must not be made of it.
    fn list_names(&self, user: UserId) -> StoreFuture<'_, Vec<String>>;
}
