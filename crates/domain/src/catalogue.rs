//! Reading what administrators see. Failing means that the store did not answer, never that something is absent; and
//! what belongs to another organisation is absent (`security.md` M1).

use std::net::IpAddr;

use crate::{
    audit::chain::{Chain, RecordFilter, StoredRecord},
    change::{EndCause, Once},
    clock::Timestamp,
    directory::StoreFuture,
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

/// By what an organisation is looked for.
#[derive(Clone, Debug)]
pub enum OrganisationReference {
    /// By its id.
    Id(OrganisationId),
    /// By its code.
    Code(CanonicalName),
}

/// How many Web API keys want an administrator's attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Keys in use that are about to expire.
    pub expiring: u64,
    /// Keys in use that nobody has used for long.
    pub unused: u64,
}

/// What ended all sessions of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// Why; `None` for a cause that only a later version knows.
    pub cause: Option<EndCause>,
    /// Who did it; `None` for what the operator did on the machine itself.
    pub actor: Option<UserId>,
}

/// Reading the directory for administrators.
pub trait Catalogue: Send + Sync {
    /// Finds an organisation.
    fn find_organisation(
        &self,
        organisation: OrganisationReference,
    ) -> StoreFuture<'_, Option<Stored<Organisation>>>;

    /// Lists organisations by code.
    fn list_organisations(
        &self,
        filter: OrganisationFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Organisation>>>;

    /// What an organisation overrides of the rules.
    fn get_overrides(&self, organisation: OrganisationId) -> StoreFuture<'_, Overrides>;

    /// Finds a unit.
    fn find_unit(&self, organisation: OrganisationId, id: UnitId) -> StoreFuture<'_, Option<Stored<Unit>>>;

    /// Those of these ids that are units of the organisation.
    fn find_units(&self, organisation: OrganisationId, ids: Vec<UnitId>) -> StoreFuture<'_, Vec<UnitId>>;

    /// Lists the units of an organisation by name.
    fn list_units(
        &self,
        organisation: OrganisationId,
        filter: UnitFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<Stored<Unit>>>;

    /// Finds a user.
    fn find_user(&self, organisation: OrganisationId, id: UserId) -> StoreFuture<'_, Option<UserDetails>>;

    /// Finds the users who have any of these usernames or ids, with their stored hashes. Each comes once at least.
    fn find_users(
        &self,
        organisation: OrganisationId,
        names: Vec<CanonicalName>,
        ids: Vec<UserId>,
    ) -> StoreFuture<'_, Vec<(UserDetails, Option<PasswordHash>)>>;

    /// Lists the users of an organisation, by username; those of one unit by their ids.
    fn list_users(
        &self,
        organisation: OrganisationId,
        filter: UserFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<UserDetails>>;

    /// Finds a Web API key.
    fn find_key(&self, organisation: OrganisationId, id: KeyId) -> StoreFuture<'_, Option<KeyDetails>>;

    /// Lists the Web API keys of an organisation by their ids.
    fn list_keys(
        &self,
        organisation: OrganisationId,
        filter: KeyFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<KeyDetails>>;

    /// Counts the keys of all organisations, in use, that expire before a time or were not used since another.
    fn count_keys(&self, expires_before: Timestamp, unused_since: Timestamp) -> StoreFuture<'_, KeyCounts>;

    /// From where the tokens of these sessions were got, as far as it is known.
    fn list_session_addresses(
        &self,
        sessions: Vec<SessionNumber>,
    ) -> StoreFuture<'_, Vec<(SessionNumber, IpAddr)>>;

    /// Lists records of an organisation's chain, or of the one for records that no organisation can be named for. A page
    /// is the outcome of a bounded search: it may have fewer records than its limit, or none, and not be the last.
    fn list_records(
        &self,
        organisation: Option<OrganisationId>,
        filter: RecordFilter,
        page: PageRequest,
    ) -> StoreFuture<'_, Page<StoredRecord>>;

    /// What is kept of a chain beside its records; `None` if nothing was ever recorded in it.
    fn find_chain(&self, organisation: Option<OrganisationId>) -> StoreFuture<'_, Option<Chain>>;

    /// When the oldest record of all chains was made.
    fn find_oldest_record(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// What is remembered of a session that has ended and left memory.
    fn find_ended_session(&self, session: SessionId) -> StoreFuture<'_, Option<PastSession>>;

    /// The first ending of the session's organisation, unit, user or key that reached it, as far as it is remembered.
    fn find_ending(&self, session: PastSession) -> StoreFuture<'_, Option<Ending>>;

    /// What was created for a caller under a key of their own.
    fn find_once(&self, caller: UserId, key: [u8; 32]) -> StoreFuture<'_, Option<Once>>;
}
