//! An instance's own part of the cluster: its lease, how far it has applied the log, and the fetches under way.
//!
//! It does no I/O and reads no clock; [`Keeper`](super::Keeper) does that for it. Two things make it right. Whoever
//! looks at the replica asks for the lease *before*: a lease that is found there vouches for all that is in the
//! replica. And whatever enters the replica does so under the lock under which records are applied, so that no record
//! slips in between the question whether it may enter and its entering.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{InstanceId, LogNumber, LogRecord, Notice, StoredSession};
use crate::{
    session::{Identity, Scope},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// How many applied records are kept to judge fetches by. A fetch that is slower than so many is done again.
const RECENT: usize = 4_096;

/// What an instance holds in memory of the store: the session table.
pub trait Replica: Send + Sync {
    /// Puts a record of the log into force. Records come in order, each once; what one says may be in force already.
    fn apply(&self, notice: &Notice);

    /// Forgets everything, for it is not known any more what still holds.
    fn forget_all(&self);
}

impl<R: Replica + ?Sized> Replica for Arc<R> {
    fn apply(&self, notice: &Notice) {
        (**self).apply(notice);
    }

    fn forget_all(&self) {
        (**self).forget_all();
    }
}

/// An instance as a member of the cluster. Shared by its requests and its [`Keeper`](super::Keeper).
pub struct Member<R> {
    replica: R,
    /// When the lease ends, in nanoseconds of the steady clock; zero if there is none. Written under the lock, after
    /// all that the lease vouches for is in the replica; read by every verification.
    lease_end: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registration: Option<InstanceId>,
    /// All up to here is in the replica.
    applied: LogNumber,
    /// The last records of it.
    recent: VecDeque<Notice>,
}

/// What shows that there was a lease before the replica was looked at: the only way to it for those who answer.
pub struct Admitted<'a, R> {
    replica: &'a R,
}

impl<'a, R> Admitted<'a, R> {
    /// The replica.
    pub fn replica(&self) -> &'a R {
        self.replica
    }
}

/// A fetch under way.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    registration: InstanceId,
    /// The store is as of this number or later.
    applied: LogNumber,
}

/// Records are missing between what is applied and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the release log has a gap after {}", .0.0)]
pub struct Gap(pub LogNumber);

impl<R: Replica> Member<R> {
    /// An instance that is not registered yet; the replica is empty.
    pub fn new(replica: R) -> Self {
        Self { replica, lease_end: AtomicU64::new(0), state: Mutex::default() }
    }

    /// The replica, for whoever does not answer from it.
    pub fn replica(&self) -> &R {
        &self.replica
    }

    /// Whether there is a lease. Costs one load.
    pub fn may_answer(&self, now: Duration) -> bool {
        // What was applied before the lease was extended is seen by whoever sees the lease.
        nanos(now) < self.lease_end.load(Ordering::Acquire)
    }

    /// Lets a verification look at the replica, if there is a lease. `now` is a reading of the steady clock since the
    /// verification began; that it is older than the look does no harm.
    pub fn admit(&self, now: Duration) -> Option<Admitted<'_, R>> {
        (self.may_answer(now) || !obeyed!(NoAnswerWithoutLease))
            .then_some(Admitted { replica: &self.replica })
    }

    /// The registration, and up to which number the log is applied; `None` if there is no registration.
    pub fn standing(&self) -> Option<(InstanceId, LogNumber)> {
        let state = lock(&self.state);
        Some((state.registration?, state.applied))
    }

    /// To be called *before* something is asked of the store that is to enter the replica, also before a session is
    /// committed there. `None` if there is no registration: nobody would wait for this instance to hear of a release.
    pub fn begin_fetch(&self) -> Option<Ticket> {
        let (registration, applied) = self.standing()?;
        Some(Ticket { registration, applied })
    }

    /// Puts a session that the store gave into the replica, unless it may be out of date: then it must be asked for
    /// again, and the answer is `false`. `put` must not call the member.
    pub fn finish_fetch(&self, ticket: Ticket, fetched: &StoredSession, put: impl FnOnce(&R)) -> bool {
        let state = lock(&self.state);
        if obeyed!(NoStaleFetch) && !state.still_holds(ticket, fetched) {
            return false;
        }
        put(&self.replica);
        true
    }

    /// Notes a registration, made when the log ended at `head`. The replica is empty.
    pub fn join(&self, registration: InstanceId, head: LogNumber, lease_end: Duration) {
        let mut state = lock(&self.state);
        *state = State { registration: Some(registration), applied: head, recent: VecDeque::new() };
        self.lease_end.store(nanos(lease_end), Ordering::Release);
    }

    /// Applies records of the log, in order; those that are applied already are passed over. At a gap, nothing is known
    /// any more and the caller must [`part`](Self::part).
    pub fn apply(&self, records: &[LogRecord]) -> Result<(), Gap> {
        let mut state = lock(&self.state);
        if state.registration.is_none() {
            return Ok(());
        }
        for LogRecord { number, notice } in records {
            if *number <= state.applied {
                continue;
            }
            if number.0 != state.applied.0 + 1 {
                return Err(Gap(state.applied));
            }
            self.replica.apply(notice);
            if state.recent.len() == RECENT {
                state.recent.pop_front();
            }
            state.recent.push_back(notice.clone());
            state.applied = *number;
        }
        Ok(())
    }

    /// Extends the lease after a renewal that read `head`; not if something up to there is still to be applied.
    pub fn extend(&self, registration: InstanceId, head: LogNumber, lease_end: Duration) -> bool {
        let state = lock(&self.state);
        let is_known = state.applied >= head || !obeyed!(ApplyThenExtend);
        let may = state.registration == Some(registration) && is_known;
        if may {
            self.lease_end.fetch_max(nanos(lease_end), Ordering::Release);
        }
        may
    }

    /// Stops answering, forgets everything and the registration too. Returns which it was.
    pub fn part(&self) -> Option<InstanceId> {
        let mut state = lock(&self.state);
        self.lease_end.store(0, Ordering::Release);
        if obeyed!(ForgetWhenRemoved) {
            self.replica.forget_all();
        }
        std::mem::take(&mut *state).registration
    }
}

impl State {
    fn still_holds(&self, ticket: Ticket, fetched: &StoredSession) -> bool {
        let since = usize::try_from(self.applied.0.saturating_sub(ticket.applied.0)).unwrap_or(usize::MAX);
        self.registration == Some(ticket.registration)
            && since <= self.recent.len()
            && !self.recent.iter().rev().take(since).any(|notice| overtakes(notice, fetched))
    }
}

/// Whether a session that was read before this record may be something else after it.
fn overtakes(notice: &Notice, fetched: &StoredSession) -> bool {
    match notice {
        Notice::Released(session) => *session == fetched.session.digest.session(),
        Notice::Ended(scope, through) => fetched.number <= *through && covers(*scope, &fetched.identity),
        Notice::Renamed { organisation, scope, .. } => {
            *organisation == fetched.identity.organisation && covers(*scope, &fetched.identity)
        }
        Notice::Changed => false,
    }
}

pub(super) fn covers(scope: Scope, identity: &Identity) -> bool {
    match scope {
        Scope::Organisation(organisation) => organisation == identity.organisation,
        Scope::Unit(unit) => unit == identity.unit,
        Scope::User(user) => user == identity.user,
        Scope::Key(user, key) => user == identity.user && identity.method.key() == Some(key),
    }
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
