//! The limit on failed logins of an account.
//!
//! A login is counted *before* its password is hashed and settled after: so at no moment are more guesses under way
//! than failures are left, and a thousand guesses at once get no more tries than a thousand in a row (`security.md`
//! L2). Logins beyond that wait for the ones before them, for a program may well log in many times at once with the
//! right password.
//!
//! What is counted is a [`Gate`]. An account has one for each place from which it is known and one for everywhere else,
//! so that guesses from elsewhere do not lock out its owner (L4). Names with no usable account behind them share a fixed
//! number of gates, so that logins sent together wait for each other whether or not there is an account (C5), and memory
//! is bounded by the number of accounts.
//!
//! One instance counts in its memory. Many count in their store ([`SharedAttempts`]), by the same rules and for names with
//! no account too: so a thousand guesses spread over them get no more tries, and the store is asked as often whether or
//! not there is an account. What an instance that dies leaves under way counts as failed after a while.

mod count;
mod shared;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use self::{
    count::Begun,
    shared::{Counted, Shared},
};
pub use self::{
    count::{AttemptCount, UnderWay},
    shared::SharedAttempts,
};
use crate::{
    address::Network,
    clock::{Clock, Timestamp},
    id::UserId,
    journal::StoreError,
    random::{NoRandomness, Randomness},
};

/// When an account is locked, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutRules {
    /// This many failures...
    pub failures: u32,
    /// ...within this time...
    pub window: Duration,
    /// ...lock the account for this long, twice as long for each further lock in a row...
    pub lock: Duration,
    /// ...up to this.
    pub longest_lock: Duration,
}

impl Default for LockoutRules {
    /// Ten failures within a quarter of an hour lock for a minute, later for up to an hour.
    fn default() -> Self {
        Self {
            failures: 10,
            window: Duration::from_secs(15 * 60),
            lock: Duration::from_secs(60),
            longest_lock: Duration::from_secs(3600),
        }
    }
}

/// What logins pass through one by one, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// That of an account: of its logins from one place from where it is known, or from everywhere else.
    User(UserId, Option<Network>),
    /// One of those of names with no usable account behind them.
    Nobody(u16),
}

/// Why an attempt may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The account is locked until then.
    Locked(Timestamp),
    /// Too many attempts wait already.
    Busy,
    /// The counts are not known.
    Unavailable(StoreError),
}

impl From<StoreError> for Barred {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

/// Why an instance cannot count with others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Nothing that others do not know could be drawn.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The store does not say what the instances have agreed on.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The counts of all accounts.
pub struct Attempts {
    waiting: Waiting,
    counts: Counts,
}

enum Counts {
    /// Of this instance, which is the only one.
    Own(Own),
    /// Of all instances, with the key that chooses the gates of names with no account.
    Shared(Arc<Shared>, [u8; 16]),
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

impl Attempts {
    /// No failures yet, counted in memory. At most `longest_wait` attempts, of all accounts together, wait for others to
    /// be settled.
    pub fn new(longest_wait: usize) -> Self {
        Self { waiting: Waiting::new(longest_wait), counts: Counts::Own(Own::default()) }
    }

    /// The failures that all instances count in a store. At most `longest_wait` attempts wait on this one. To be called
    /// on the runtime that logins run on.
    pub async fn share(
        store: Arc<dyn SharedAttempts>,
        longest_wait: usize,
        random: &dyn Randomness,
    ) -> Result<Self, ShareError> {
        let key = store.agree_on_key(random.bytes()?).await?;
        let shared = Shared::new(store, u64::from_be_bytes(random.bytes()?));
        Ok(Self { waiting: Waiting::new(longest_wait), counts: Counts::Shared(shared, key) })
    }

    /// The secret that chooses the gates of names with no account, if all instances have the same. They must: were such
    /// a name another's gate on each instance, it would take more guesses at once than an account's name does.
    pub(crate) fn gate_key(&self) -> Option<[u8; 16]> {
        match &self.counts {
            Counts::Own(_) => None,
            Counts::Shared(_, key) => Some(*key),
        }
    }

    /// Counts an attempt that is about to be made, waiting while as many are under way as failures are left. The
    /// attempt must be settled; one that is dropped does not count, for its maker learnt nothing.
    pub async fn begin(&self, gate: Gate, rules: LockoutRules, clock: &Clock) -> Result<Attempt<'_>, Barred> {
        let counted = match &self.counts {
            Counts::Own(own) => UnderWayIn::Own(own.begin(gate, rules, clock, &self.waiting).await?),
            Counts::Shared(shared, _) => {
                UnderWayIn::Shared(shared.begin(gate, rules, clock, &self.waiting).await?)
            }
        };
        Ok(Attempt(counted))
    }

    /// Does what settling an attempt costs, for a login that was barred: how long it takes must not tell that it was.
    pub async fn settle_nothing(&self, gate: Gate) -> Result<(), StoreError> {
        match &self.counts {
            Counts::Own(_) => Ok(()),
            Counts::Shared(shared, _) => shared.settle_nothing(gate).await,
        }
    }

    /// Lifts the locks of accounts and forgets the failures before them.
    pub async fn unlock(&self, users: &[UserId]) -> Result<(), StoreError> {
        match &self.counts {
            Counts::Own(own) => {
                own.unlock(users);
                Ok(())
            }
            Counts::Shared(shared, _) => shared.unlock(users).await,
        }
    }

    /// The end of the longest lock of each of these accounts that is locked, wherever its logins come from.
    pub async fn locked_until(
        &self,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<BTreeMap<UserId, Timestamp>, StoreError> {
        match &self.counts {
            Counts::Own(own) => Ok(own.locked_until(users, now)),
            Counts::Shared(shared, _) => shared.locked_until(users, now).await,
        }
    }

    /// Frees the counts that say nothing any more; of a store's, some of them each time.
    pub async fn forget_old(&self, now: Timestamp) -> Result<(), StoreError> {
        match &self.counts {
            Counts::Own(own) => {
                own.forget_old(now);
                Ok(())
            }
            Counts::Shared(shared, _) => shared.forget_old(now).await,
        }
    }

    /// Waits until the attempts whose makers hung up are settled, for two seconds at most. To be called when no more are
    /// made.
    pub async fn finish(&self) {
        if let Counts::Shared(shared, _) = &self.counts {
            shared.finish().await;
        }
    }
}

/// The end of the longest lock of each user, of those that are locked.
fn longest_locks<'a>(
    counts: impl Iterator<Item = &'a (Gate, AttemptCount)>,
    now: Timestamp,
) -> BTreeMap<UserId, Timestamp> {
    let mut longest = BTreeMap::new();
    for (gate, count) in counts {
        if let (Gate::User(user, _), true) = (gate, now < count.locked_until) {
            let until = longest.entry(*user).or_insert(count.locked_until);
            *until = count.locked_until.max(*until);
        }
    }
    longest
}

/// Counts in memory.
#[derive(Default)]
struct Own {
    /// In order, so that the gates of one account lie together.
    counts: Mutex<BTreeMap<Gate, AttemptCount>>,
    /// Of the next attempt.
    next_number: AtomicU64,
    settled: Notify,
}

impl Own {
    async fn begin(
        &self,
        gate: Gate,
        rules: LockoutRules,
        clock: &Clock,
        waiting: &Waiting,
    ) -> Result<CountedHere<'_>, Barred> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut place = None;
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            // Memory settles what is dropped, and dies with whoever made it.
            let attempt = UnderWay { number, overdue_at: Timestamp::from_millis(i64::MAX) };
            let begun = {
                let mut counts = self.counts();
                let count = counts.entry(gate).or_insert_with(AttemptCount::new);
                count.begin(attempt, &rules, clock.now())
            };
            match begun {
                Begun::Counted => return Ok(CountedHere { own: self, gate, number, rules }),
                Begun::Locked(until) => return Err(Barred::Locked(until)),
                Begun::NoRoom => {}
            }
            if place.is_none() {
                place = Some(waiting.enter()?);
            }
            settled.await;
        }
    }

    fn settle(&self, gate: Gate, number: u64, failed_at: Option<Timestamp>, rules: &LockoutRules) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&gate) {
            count.settle(number, failed_at, rules);
        }
        drop(counts);
        self.settled.notify_waiters();
    }

    fn unlock(&self, users: &[UserId]) {
        let mut counts = self.counts();
        for user in users {
            of_user(&mut counts, *user).for_each(|(_, count)| count.unlock());
        }
    }

    fn locked_until(&self, users: &[UserId], now: Timestamp) -> BTreeMap<UserId, Timestamp> {
        let mut counts = self.counts();
        let mut found = Vec::new();
        for user in users {
            found.extend(of_user(&mut counts, *user).map(|(gate, count)| (*gate, count.clone())));
        }
        longest_locks(found.iter(), now)
    }

    fn forget_old(&self, now: Timestamp) {
        self.counts().retain(|_, count| now < count.stale_at);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Gate, AttemptCount>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts of one account.
fn of_user(
    counts: &mut BTreeMap<Gate, AttemptCount>,
    user: UserId,
) -> impl Iterator<Item = (&Gate, &mut AttemptCount)> {
    let is_users = move |gate: &Gate| matches!(gate, Gate::User(known, _) if *known == user);
    counts.range_mut(Gate::User(user, None)..).take_while(move |(gate, _)| is_users(gate))
}

/// An attempt that has been counted and is under way.
#[must_use]
pub struct Attempt<'a>(UnderWayIn<'a>);

enum UnderWayIn<'a> {
    Own(CountedHere<'a>),
    Shared(Counted),
}

impl Attempt<'_> {
    /// The password was right. The failures before it still count: they may be somebody else's guesses, made between
    /// the logins of an account that is in regular use.
    pub async fn succeeded(self) {
        match self.0 {
            UnderWayIn::Own(counted) => drop(counted),
            UnderWayIn::Shared(counted) => counted.settle(None).await,
        }
    }

    /// The password was wrong.
    pub async fn failed(self, now: Timestamp) {
        match self.0 {
            UnderWayIn::Own(counted) => counted.failed(now),
            UnderWayIn::Shared(counted) => counted.settle(Some(now)).await,
        }
    }
}

/// An attempt that is counted in memory. Dropped, it is settled without a failure.
struct CountedHere<'a> {
    own: &'a Own,
    gate: Gate,
    number: u64,
    rules: LockoutRules,
}

impl CountedHere<'_> {
    fn failed(self, now: Timestamp) {
        self.own.settle(self.gate, self.number, Some(now), &self.rules);
        std::mem::forget(self);
    }
}

impl Drop for CountedHere<'_> {
    fn drop(&mut self) {
        self.own.settle(self.gate, self.number, None, &self.rules);
    }
}

/// The places of those who wait.
struct Waiting {
    longest: usize,
    taken: AtomicUsize,
}

impl Waiting {
    fn new(longest: usize) -> Self {
        Self { longest, taken: AtomicUsize::new(0) }
    }

    fn enter(&self) -> Result<Place<'_>, Barred> {
        let place = Place(&self.taken);
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.longest { Ok(place) } else { Err(Barred::Busy) }
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
