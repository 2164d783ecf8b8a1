//! Many instances over one store: how a release comes into force everywhere before it is answered.
//!
//! The store keeps a *release log*: what ends sessions, numbered without gaps in commit order. Each instance is a
//! registration in the store, its *lease* renewed by a synchronous write. It answers only while it has a lease, and a
//! lease is extended only when the log has been applied as far as the renewal read it. A release is answered when every
//! registered instance has acknowledged its number, or one lease has passed since it was committed. `docs/clustering.md`
//! says what that means to an operator.

use std::time::Duration;

pub use self::{
    keeper::{Keeper, KeeperParts, Pace},
    member::{Admitted, Gap, Member, Replica, Ticket},
    time::StoreClock,
};
use crate::{
    clock::Timestamp,
    directory::StoreFuture,
    id::{OrganisationId, SessionId},
    journal::StoreError,
    observer::NoObserver,
    session::{Identity, PastSession, Scope, Session, SessionNumber},
    session_table::{SessionFilter, SessionPlace},
};

/// Whether a rule of the protocol is obeyed: always, but in the simulations that show that it is needed.
#[cfg(not(all(test, not(feature = "shuttle"))))]
macro_rules! obeyed {
    ($rule:ident) => {
        true
    };
}
#[cfg(all(test, not(feature = "shuttle")))]
macro_rules! obeyed {
    ($rule:ident) => {
        crate::cluster::tests::Rule::$rule.is_obeyed()
    };
}

mod keeper;
mod member;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
mod time;

/// A place in the release log. The first record has the number 1; zero is the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogNumber(pub u64);

/// What instances must know of each other's commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This session was released.
    Released(SessionId),
    /// All sessions of the scope with this number or a lower one have ended.
    Ended(Scope, SessionNumber),
    /// An organisation, or a unit or user of it, has another name from now on.
    Renamed {
        /// The organisation.
        organisation: OrganisationId,
        /// What was renamed.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// Something in the directory was changed: what is remembered of it may not hold any more. Every change of the
    /// directory is logged as this at least.
    Changed,
}

/// A record of the release log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its number.
    pub number: LogNumber,
    /// What it says.
    pub notice: Notice,
}

/// One registration of an instance. No two registrations ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

/// What an instance says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// What operators know it by.
    pub name: String,
    /// Its `cluster.lease`, which must be that of all others: they wait that long for it.
    pub lease: Duration,
}

/// A registration, committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub instance: InstanceId,
    /// The end of the log at that moment: what is fetched from now on is as of this number or later.
    pub head: LogNumber,
    /// The time of the store.
    pub time: StoreTime,
}

/// What time it is for all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTime {
    /// What the store's clock says.
    pub now: Timestamp,
    /// The latest time that any instance has recorded; no clock starts before it.
    pub latest: Option<Timestamp>,
}

/// What came of a renewal, committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease may be extended once all up to `head` is applied.
    Renewed {
        /// The end of the log as the renewal read it.
        head: LogNumber,
        /// The records behind what the instance has applied, in order, as many as one reading gives.
        records: Vec<LogRecord>,
        /// The time of the store.
        time: StoreTime,
    },
    /// The registration is gone: others did not hear of the instance for a lease.
    Removed,
}

/// An instance that has not acknowledged a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// The instance.
    pub instance: InstanceId,
    /// How far it has acknowledged the log.
    pub applied: LogNumber,
    /// How often it has renewed its lease.
    pub renewals: u64,
}

/// The part of the store that instances have in common. Failing means that it is not known whether it was done.
pub trait Roster: Send + Sync {
    /// Registers an instance, durable on as many machines as releases are. `Err` in the outer answer is the store's;
    /// the inner one is a reason why this instance may not join, for the operator.
    fn register(&self, introduction: Introduction) -> StoreFuture<'_, Result<Registered, String>>;

    /// Renews a lease, durable likewise; acknowledges the log up to `applied`; and reads, in the same transaction, what
    /// lies behind it. `latest` is the latest time that this instance has told anybody.
    fn renew(&self, instance: InstanceId, applied: LogNumber, latest: Timestamp) -> StoreFuture<'_, Renewal>;

    /// Reads the log behind a number, in order, as many records as one reading gives.
    fn read_log(&self, after: LogNumber) -> StoreFuture<'_, Vec<LogRecord>>;

    /// Acknowledges the log up to a number. It need not be durable: forgotten, it only delays others.
    fn acknowledge(&self, instance: InstanceId, applied: LogNumber) -> StoreFuture<'_, ()>;

    /// The registered instances that have not acknowledged this number.
    fn list_laggards(&self, number: LogNumber) -> StoreFuture<'_, Vec<Laggard>>;

    /// Removes a registration if it was renewed this often and no more.
    fn remove(&self, instance: InstanceId, renewals: u64) -> StoreFuture<'_, ()>;

    /// Removes the instance's own registration: it will answer nobody any more.
    fn leave(&self, instance: InstanceId) -> StoreFuture<'_, ()>;
}

/// A session as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its number.
    pub number: SessionNumber,
    /// The session; its last use as far as it is written.
    pub session: Session,
    /// Whom it speaks for.
    pub identity: Identity,
}

impl StoredSession {
    /// What is known of it.
    pub(crate) fn past(&self) -> PastSession {
        let Self { number, session, identity } = self;
        PastSession {
            number: *number,
            organisation: Some(identity.organisation),
            unit: identity.unit,
            user: identity.user,
            method: identity.method,
            issued_at: session.issued_at,
            last_used_at: session.last_used_at,
            idle: session.idle,
            ends_at: session.ends_at,
            released: None,
        }
    }
}

/// Sessions in the store, for instances that hold some of them in memory.
pub trait SessionSource: Send + Sync {
    /// Finds a session that nothing has ended but, perhaps, its time.
    fn find_session(&self, session: SessionId) -> StoreFuture<'_, Option<StoredSession>>;

    /// Lists such sessions of an organisation that are live at `now`, `limit` at most, behind a place, in the order of
    /// [`SessionPlace`].
    fn list_sessions(
        &self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<StoredSession>>;
}

/// What a [`Keeper`] tells whoever counts. Calls must return at once.
pub trait ClusterObserver: Send + Sync {
    /// The store said what time it is, at some moment between two readings of the steady clock. Told before the lease
    /// counts, so that a clock that follows the store is right when the instance answers.
    fn told_time(&self, time: StoreTime, sent: Duration, answered: Duration) {
        let _ = (time, sent, answered);
    }

    /// The instance is registered.
    fn registered(&self, instance: InstanceId) {
        let _ = instance;
    }

    /// The instance may not join, until the operator does something about it.
    fn may_not_join(&self, reason: &str) {
        let _ = reason;
    }

    /// The instance is not registered any more, has forgotten everything and will register again.
    fn lost_registration(&self, reason: &str) {
        let _ = reason;
    }

    /// A renewal failed, or came when the lease was over.
    fn lease_missed(&self) {}

    /// A call of the store failed, and is tried again.
    fn failed(&self, what: &'static str, error: &StoreError) {
        let _ = (what, error);
    }

    /// The log reaches at least this far.
    fn head_seen(&self, head: LogNumber) {
        let _ = head;
    }

    /// The instance has applied the log up to here.
    fn applied(&self, applied: LogNumber) {
        let _ = applied;
    }

    /// A record that this instance committed may be answered, `took` after its commit: all have acknowledged it, or
    /// a lease has passed.
    fn came_into_force(&self, number: LogNumber, is_by_all: bool, took: Duration) {
        let _ = (number, is_by_all, took);
    }

    /// The store was asked about a session: whether it has it, or that it did not answer; and how long that took.
    fn fetched(&self, is_found: Result<bool, &StoreError>, took: Duration) {
        let _ = (is_found, took);
    }

    /// Another instance was silent for a lease, and its registration was removed.
    fn removed(&self, instance: InstanceId) {
        let _ = instance;
    }
}

impl ClusterObserver for NoObserver {}
