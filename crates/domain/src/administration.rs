//! What administrators do: organisations, units, users, Web API keys, sessions and rules; and what they are told of the
//! past: audit records, and how tokens ended.
//!
//! The way in is by types. [`Administration::admit`] turns a token into an [`Administrator`]; an administrator asks for
//! an organisation and gets a [`Tenant`] if they may see it; all else is done on the tenant. So no use case can be
//! reached for an organisation that the caller may not see: for them it does not exist (`security.md` M1).
//!
//! A change is decided on a state that was read, and committed only if that is still the state. A caller who named
//! the state they saw is told when it has moved; for others the change is decided again.

mod explanations;
mod import;
mod keys;
mod organisations;
mod records;
mod rules;
mod sessions;
mod units;
mod users;

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

pub use self::{
    explanations::{AddressStanding, ExplainedSession, Explanation, Named, Standing},
    import::{Imported, ImportedUser},
    keys::{KeyPatch, NewKey, RotatedKey, Rotation},
    organisations::{NewOrganisation, OrganisationPatch},
    records::Records,
    rules::{EffectiveRule, RulesInForce, Source},
    sessions::{SessionDetails, WhichSessions},
    units::{NewUnit, UnitPatch},
    users::{NewUser, PasswordReset, UserPatch},
};
use sha2::{Digest, Sha256};

use crate::{
    audit::{AuditRecord, Event, Origin, Reason},
    catalogue::{Catalogue, OrganisationReference},
    change::{Change, Once},
    clock::Timestamp,
    credential::PlainToken,
    doorkeeper::Doorkeeper,
    id::{OrganisationId, UserId},
    journal::{Entry, Outcome, StoreError, Unique},
    name::{CanonicalName, Name},
    passwords::HashError,
    random::NoRandomness,
    resource::{Organisation, PageRequest, Revision, Stored},
    rules::Rule,
};

/// Why something was not done. The texts are for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The token is unknown, expired or released.
    #[error("the token is unknown, expired or released")]
    InvalidToken,
    /// The caller may see it, and may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing, or none that the caller may see.
    #[error("there is no such thing")]
    NotFound,
    /// A member is not as it must be; `problem` completes "the member ...".
    #[error("'{member}' {problem}")]
    Invalid {
        /// The name of the member.
        member: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A member is what another one has; `problem` completes "the member ...".
    #[error("'{member}' {problem}")]
    Taken {
        /// The name of the member.
        member: &'static str,
        /// What is taken.
        problem: String,
    },
    /// The state of things does not allow it; the text says what to do.
    #[error("{0}")]
    Conflict(String),
    /// It was changed since the caller read it.
    #[error("it was changed since it was read")]
    Stale,
    /// The caller has asked for something else under the same `Idempotency-Key`.
    #[error("this Idempotency-Key was used for another request")]
    Reused,
    /// The store did not answer or the queue is full; the text is for the operator.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for AdminError {
    fn from(error: HashError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<NoRandomness> for AdminError {
    fn from(error: NoRandomness) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What an answer gives.
pub type Answer<T> = Result<T, AdminError>;

/// Makes a creation happen once: the digests of the caller's `Idempotency-Key` and of what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    key: [u8; 32],
    request: [u8; 32],
}

impl Idempotency {
    /// Takes the key, and the request without what is secret in it.
    pub fn new(key: &[u8], request: &[u8]) -> Self {
        Self { key: Sha256::digest(key).into(), request: Sha256::digest(request).into() }
    }
}

/// What was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created<T> {
    /// The thing.
    pub value: T,
    /// Whether it was created earlier, at the same request.
    pub is_repeat: bool,
}

/// How many times a change is decided again when others change the same thing.
const TRIES: usize = 5;

/// The administration. One per process.
pub struct Administration {
    doorkeeper: Arc<Doorkeeper>,
    catalogue: Arc<dyn Catalogue>,
    configured: BTreeSet<Rule>,
}

impl Administration {
    /// Administers what `doorkeeper` guards. `configured` are the rules whose value is not the built-in one.
    pub fn new(
        doorkeeper: Arc<Doorkeeper>,
        catalogue: Arc<dyn Catalogue>,
        configured: BTreeSet<Rule>,
    ) -> Self {
        Self { doorkeeper, catalogue, configured }
    }

    /// Admits the holder of a token, if they are an administrator. This is a use of the token.
    pub async fn admit(self: &Arc<Self>, token: &PlainToken, origin: &Origin) -> Answer<Administrator> {
        let live = self.doorkeeper.verify(token).await?.ok_or(AdminError::InvalidToken)?;
        let identity = &live.identity;
        let holder = self.doorkeeper.find_holder(&live).await?;
        if !holder.is_some_and(|holder| holder.is_administrator()) {
            return Err(AdminError::Forbidden(
                "Only administrators may do this, and not with the key of a consumer application; log in as one.",
            ));
        }
        Ok(Administrator {
            administration: self.clone(),
            user: identity.user,
            organisation: identity.organisation,
            is_operator: identity.is_operator,
            origin: origin.clone(),
        })
    }

    fn now(&self) -> Timestamp {
        self.doorkeeper.parts().clock.now()
    }
}

/// Somebody who may manage: their own organisation, or all of them if theirs is the operator organisation.
pub struct Administrator {
    administration: Arc<Administration>,
    user: UserId,
    organisation: OrganisationId,
    is_operator: bool,
    origin: Origin,
}

impl Administrator {
    /// Enters an organisation by its id or its code.
    pub async fn enter(&self, reference: &str) -> Answer<Tenant> {
        let catalogue = &self.administration.catalogue;
        let mut found = None;
        if let Ok(id) = reference.parse() {
            found = catalogue.find_organisation(OrganisationReference::Id(id)).await?;
        }
        if found.is_none()
            && let Ok(code) = CanonicalName::new(reference)
        {
            found = catalogue.find_organisation(OrganisationReference::Code(code)).await?;
        }
        let is_visible =
            |found: &Stored<Organisation>| self.is_operator || found.value.id == self.organisation;
        let organisation = found.filter(is_visible).ok_or(AdminError::NotFound)?;
        Ok(Tenant {
            administration: self.administration.clone(),
            actor: self.user,
            is_own: organisation.value.id == self.organisation,
            is_operator: self.is_operator,
            origin: self.origin.clone(),
            organisation,
        })
    }
}

fn only_operators(is_operator: bool) -> Answer<()> {
    if is_operator {
        Ok(())
    } else {
        Err(AdminError::Forbidden(
            "Only administrators of the operator organisation may do this; ask one of them.",
        ))
    }
}

/// An organisation that somebody may manage.
pub struct Tenant {
    administration: Arc<Administration>,
    actor: UserId,
    /// Whether it is the administrator's own.
    is_own: bool,
    is_operator: bool,
    origin: Origin,
    organisation: Stored<Organisation>,
}

impl Tenant {
    fn id(&self) -> OrganisationId {
        self.organisation.value.id
    }

    fn catalogue(&self) -> &dyn Catalogue {
        &*self.administration.catalogue
    }

    fn doorkeeper(&self) -> &Doorkeeper {
        &self.administration.doorkeeper
    }

    fn now(&self) -> Timestamp {
        self.administration.now()
    }

    /// The record of something that the administrator does here.
    fn audit(&self, event: Event) -> AuditRecord {
        audit(self.actor, self.id(), self.now(), &self.origin, event)
    }

    async fn submit(&self, change: Change, audit: AuditRecord) -> Answer<Outcome> {
        Ok(self.doorkeeper().parts().journal.submit(Entry::change(change, audit)).await?)
    }

    /// Returns when what was found to be so already is in force everywhere, for whoever is told so relies on it.
    async fn settle(&self) -> Answer<()> {
        Ok(self.doorkeeper().parts().sessions.settle().await?)
    }

    /// Creates something with this id, or finds out that it was created at the same request before: then its id.
    async fn create(
        &self,
        change: Change,
        made: [u8; 16],
        audit: AuditRecord,
        idempotency: Option<Idempotency>,
        taken: impl Fn(Unique) -> AdminError,
    ) -> Answer<Option<[u8; 16]>> {
        create(&self.administration, self.actor, change, made, audit, idempotency, taken).await
    }
}

/// The record of something that an administrator does in an organisation.
fn audit(
    actor: UserId,
    organisation: OrganisationId,
    now: Timestamp,
    origin: &Origin,
    event: Event,
) -> AuditRecord {
    AuditRecord {
        organisation: Some(organisation),
        actor: Some(actor),
        ..AuditRecord::new(now, event, Reason::Ok, origin)
    }
}

/// What was created at the same request before, if anything was.
async fn find_made(
    administration: &Administration,
    caller: UserId,
    idempotency: Option<Idempotency>,
) -> Answer<Option<[u8; 16]>> {
    let Some(Idempotency { key, request }) = idempotency else { return Ok(None) };
    match administration.catalogue.find_once(caller, key).await? {
        None => Ok(None),
        Some(once) if once.request == request => Ok(Some(once.made)),
        Some(_) => Err(AdminError::Reused),
    }
}

async fn create(
    administration: &Administration,
    caller: UserId,
    change: Change,
    made: [u8; 16],
    audit: AuditRecord,
    idempotency: Option<Idempotency>,
    taken: impl Fn(Unique) -> AdminError,
) -> Answer<Option<[u8; 16]>> {
    let once = idempotency.map(|Idempotency { key, request }| Once { caller, key, request, made });
    let entry = Entry::Change { change, once, audit };
    match administration.doorkeeper.parts().journal.submit(entry).await? {
        Outcome::Committed(_) => Ok(None),
        Outcome::Taken(unique) => Err(taken(unique)),
        Outcome::Repeated => {
            let made = find_made(administration, caller, idempotency).await?;
            made.map(Some).ok_or_else(|| AdminError::Unavailable("a repeated creation is gone".into()))
        }
        Outcome::Refused | Outcome::Stale | Outcome::InUse => Err(moved()),
    }
}

/// What it refers to was deleted between the look and the change.
fn moved() -> AdminError {
    AdminError::Conflict(
        "What this refers to was changed at the same moment; look at it and try again.".into(),
    )
}

/// What became of a deletion.
fn deleted(outcome: Outcome) -> Answer<()> {
    match outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Refused => Err(AdminError::NotFound),
        Outcome::Stale => Err(AdminError::Stale),
        Outcome::Taken(_) | Outcome::InUse | Outcome::Repeated => Err(moved()),
    }
}

/// Lets a caller go on who has seen this revision, or who does not say.
fn expect(seen: Option<Revision>, now: Revision) -> Answer<()> {
    if seen.is_none_or(|seen| seen == now) { Ok(()) } else { Err(AdminError::Stale) }
}

/// What a member of an update became.
struct Changes(Vec<&'static str>);

impl Changes {
    /// Sets a member that was given, and notes its name if that makes a difference.
    fn set<T: PartialEq>(&mut self, name: &'static str, member: &mut T, given: Option<T>) {
        if let Some(given) = given
            && given != *member
        {
            *member = given;
            self.0.push(name);
        }
    }
}

fn name(member: &'static str, text: &str) -> Answer<Name> {
    Name::new(text).map_err(|error| invalid(member, format!("{error}; send another")))
}

fn invalid(member: &'static str, problem: impl Into<String>) -> AdminError {
    AdminError::Invalid { member, problem: problem.into() }
}

/// A text for people: short, on one line, and something.
fn text(member: &'static str, text: &str) -> Answer<String> {
    name(member, text).map(|name| name.as_str().to_owned())
}

/// A cursor that is none of its list. Taken for the beginning it would send its reader round in circles.
fn not_a_place() -> AdminError {
    invalid("after", "is not the 'next' of a page of this list; send it as it was, or not at all")
}

/// Refuses a cursor that is none of a list by id.
fn by_id<T: FromStr>(page: &PageRequest) -> Answer<()> {
    match page.after.as_deref().map(str::parse::<T>) {
        Some(Err(_)) => Err(not_a_place()),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn taken(member: &'static str, problem: &str) -> AdminError {
    AdminError::Taken { member, problem: format!("{problem}; choose another") }
}

/// The id of what is taken is always the one that was given.
fn id_taken() -> AdminError {
    taken("id", "is the id of something that exists")
}
