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

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    address::Network,
    clock::{Clock, Timestamp},
    id::UserId,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The account is locked until then.
    Locked(Timestamp),
    /// Too many attempts wait already.
    Busy,
}

#[derive(Debug)]
struct Count {
    /// As the latest attempt had them.
    rules: LockoutRules,
    failures: u32,
    under_way: u32,
    window_ends: Timestamp,
    /// The end of the newest lock; the epoch if there has been none.
    locked_until: Timestamp,
    locks: u32,
}

impl Count {
    fn new(now: Timestamp, rules: LockoutRules) -> Self {
        let (window_ends, never) = (now.plus(rules.window), Timestamp::from_millis(0));
        Self { rules, failures: 0, under_way: 0, window_ends, locked_until: never, locks: 0 }
    }

    /// Forgets what lies long enough back.
    fn age(&mut self, now: Timestamp) {
        let rules = self.rules;
        if now >= self.window_ends {
            self.failures = 0;
            self.window_ends = now.plus(rules.window);
        }
        if now >= self.locked_until.plus(rules.longest_lock) {
            self.locks = 0;
        }
    }

    fn fail(&mut self, now: Timestamp) {
        let rules = self.rules;
        self.age(now);
        if self.failures == 0 {
            self.window_ends = now.plus(rules.window);
        }
        self.failures += 1;
        self.lock_if_due(now);
    }

    fn lock_if_due(&mut self, now: Timestamp) {
        let rules = self.rules;
        if self.failures >= rules.failures {
            let lock = rules.lock.saturating_mul(1 << self.locks.min(20)).min(rules.longest_lock);
            self.locked_until = now.plus(lock);
            self.locks += 1;
            self.failures = 0;
        }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.under_way == 0 && self.failures == 0 && self.locks == 0 && now >= self.locked_until
    }
}

/// The counts of all accounts.
pub struct Attempts {
    longest_wait: usize,
    /// In order, so that the gates of one account lie together.
    counts: Mutex<BTreeMap<Gate, Count>>,
    waiting: AtomicUsize,
    settled: Notify,
}

impl Attempts {
    /// No failures yet. At most `longest_wait` attempts, of all accounts together, wait for others to be settled.
    pub fn new(longest_wait: usize) -> Self {
        let (counts, waiting, settled) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Self { longest_wait, counts, waiting, settled }
    }

    /// Counts an attempt that is about to be made, waiting while as many are under way as failures are left. The
    /// attempt must be settled; one that is dropped does not count, for its maker learnt nothing.
    pub async fn begin(&self, gate: Gate, rules: LockoutRules, clock: &Clock) -> Result<Attempt<'_>, Barred> {
        let mut place = None;
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.try_begin(gate, rules, clock.now())? {
                return Ok(Attempt { attempts: self, gate });
            }
            if place.is_none() {
                place = Some(Place::enter(&self.waiting, self.longest_wait).ok_or(Barred::Busy)?);
            }
            settled.await;
        }
    }

    /// `false`: as many attempts are under way as failures are left.
    fn try_begin(&self, gate: Gate, rules: LockoutRules, now: Timestamp) -> Result<bool, Barred> {
        let mut counts = self.counts();
        let count = counts.entry(gate).or_insert_with(|| Count::new(now, rules));
        count.rules = rules;
        count.age(now);
        // The rules may have become stricter than those under which the failures were counted. An attempt must not
        // wait then: there may be none under way that could wake it.
        count.lock_if_due(now);
        if now < count.locked_until {
            return Err(Barred::Locked(count.locked_until));
        }
        let has_room = count.failures + count.under_way < rules.failures;
        count.under_way += u32::from(has_room);
        Ok(has_room)
    }

    fn settle(&self, gate: Gate, outcome: impl FnOnce(&mut Count)) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&gate) {
            count.under_way = count.under_way.saturating_sub(1);
            outcome(count);
        }
        drop(counts);
        self.settled.notify_waiters();
    }

    /// Lifts the locks of an account and forgets the failures before them.
    pub fn unlock(&self, user: UserId) {
        for (_, count) in of_user(&mut self.counts(), user) {
            count.failures = 0;
            count.locks = 0;
            count.locked_until = Timestamp::from_millis(0);
        }
    }

    /// The end of the longest lock of an account, wherever its logins come from.
    pub fn locked_until(&self, user: UserId, now: Timestamp) -> Option<Timestamp> {
        let mut counts = self.counts();
        of_user(&mut counts, user).map(|(_, count)| count.locked_until).max().filter(|until| now < *until)
    }

    /// Frees the counts that say nothing any more.
    pub fn forget_old(&self, now: Timestamp) {
        self.counts().retain(|_, count| {
            count.age(now);
            !count.is_idle(now)
        });
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Gate, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts of one account.
fn of_user(counts: &mut BTreeMap<Gate, Count>, user: UserId) -> impl Iterator<Item = (&Gate, &mut Count)> {
    let is_users = move |gate: &Gate| matches!(gate, Gate::User(known, _) if *known == user);
    counts.range_mut(Gate::User(user, None)..).take_while(move |(gate, _)| is_users(gate))
}

/// An attempt that has been counted and is under way.
#[must_use]
pub struct Attempt<'a> {
    attempts: &'a Attempts,
    gate: Gate,
}

impl Attempt<'_> {
    /// The password was right. The failures before it still count: they may be somebody else's guesses, made between
    /// the logins of an account that is in regular use.
    pub fn succeeded(self) {}

    /// The password was wrong.
    pub fn failed(self, now: Timestamp) {
        self.attempts.settle(self.gate, |count| count.fail(now));
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.attempts.settle(self.gate, |_| ());
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn enter(waiting: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
