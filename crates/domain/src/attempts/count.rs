//! What is counted at one gate, and what the rules make of it. Plain numbers, so that a store can keep them for many
//! instances.

use super::LockoutRules;
use crate::clock::Timestamp;

/// The failures of one gate, its locks, and the attempts under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptCount {
    /// Failures within the window.
    pub failures: u32,
    /// When they are forgotten. Says nothing if there are none.
    pub window_ends: Timestamp,
    /// The end of the newest lock; the epoch if there has been none.
    pub locked_until: Timestamp,
    /// How many locks there were in a row.
    pub locks: u32,
    /// The attempts that are not settled, in the order in which they began.
    pub under_way: Vec<UnderWay>,
    /// From when on all of this says nothing any more, and may be forgotten.
    pub stale_at: Timestamp,
}

/// An attempt that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Tells it from all others.
    pub number: u64,
    /// From when on it counts as a failure: whoever made it is gone.
    pub overdue_at: Timestamp,
}

/// What came of beginning an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is under way.
    Counted,
    /// As many attempts are under way as failures are left.
    NoRoom,
    /// The gate is locked until then.
    Locked(Timestamp),
}

impl AttemptCount {
    pub(super) fn new() -> Self {
        let never = Timestamp::from_millis(0);
        Self {
            failures: 0,
            window_ends: never,
            locked_until: never,
            locks: 0,
            under_way: Vec::new(),
            stale_at: never,
        }
    }

    pub(super) fn begin(&mut self, attempt: UnderWay, rules: &LockoutRules, now: Timestamp) -> Begun {
        self.age(rules, now);
        // The rules may have become stricter than those under which the failures were counted. An attempt must not
        // wait then: there may be none under way that could wake it.
        self.lock_if_due(rules, now);
        self.note_stale(rules);
        if now < self.locked_until {
            return Begun::Locked(self.locked_until);
        }
        let under_way = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX);
        if self.failures.saturating_add(under_way) >= rules.failures {
            return Begun::NoRoom;
        }
        self.under_way.push(attempt);
        self.note_stale(rules);
        Begun::Counted
    }

    /// Ends an attempt, with a failure at that time if there is one. `false`: it is not under way, so it was overdue and
    /// has been counted.
    pub(super) fn settle(&mut self, number: u64, failed_at: Option<Timestamp>, rules: &LockoutRules) -> bool {
        let Some(place) = self.under_way.iter().position(|attempt| attempt.number == number) else {
            return false;
        };
        self.under_way.remove(place);
        if let Some(now) = failed_at {
            self.age(rules, now);
            self.fail(rules, now);
        }
        self.note_stale(rules);
        true
    }

    /// Lifts the locks and forgets the failures before them.
    pub(super) fn unlock(&mut self) {
        self.failures = 0;
        self.locks = 0;
        self.locked_until = Timestamp::from_millis(0);
    }

    /// Whether it says as little as no count at all.
    pub(super) fn is_blank(&self) -> bool {
        // No lock outlasts its number.
        self.under_way.is_empty() && self.failures == 0 && self.locks == 0
    }

    /// Forgets what lies long enough back, and counts what is overdue, as of the moment when it became so: whoever looks
    /// first, and whenever, what comes of it is the same.
    fn age(&mut self, rules: &LockoutRules, now: Timestamp) {
        let mut overdue: Vec<_> =
            self.under_way.extract_if(.., |attempt| now >= attempt.overdue_at).collect();
        overdue.sort_unstable_by_key(|attempt| attempt.overdue_at);
        for attempt in overdue {
            self.forget(rules, attempt.overdue_at);
            self.fail(rules, attempt.overdue_at);
        }
        self.forget(rules, now);
    }

    fn forget(&mut self, rules: &LockoutRules, now: Timestamp) {
        if now >= self.window_ends {
            self.failures = 0;
        }
        if now >= self.locked_until.plus(rules.longest_lock) {
            self.locks = 0;
        }
    }

    fn fail(&mut self, rules: &LockoutRules, now: Timestamp) {
        if self.failures == 0 {
            self.window_ends = now.plus(rules.window);
        }
        self.failures = self.failures.saturating_add(1);
        self.lock_if_due(rules, now);
    }

    fn lock_if_due(&mut self, rules: &LockoutRules, now: Timestamp) {
        if self.failures >= rules.failures {
            let lock = rules.lock.saturating_mul(1 << self.locks.min(20)).min(rules.longest_lock);
            self.locked_until = now.plus(lock);
            self.locks = self.locks.saturating_add(1);
            self.failures = 0;
        }
    }

    fn note_stale(&mut self, rules: &LockoutRules) {
        let never = Timestamp::from_millis(0);
        let failures = if self.failures > 0 { self.window_ends } else { never };
        let locks = if self.locks > 0 { self.locked_until.plus(rules.longest_lock) } else { never };
        // What is overdue is a failure, and may be one that locks.
        let overdue = self.under_way.iter().map(|attempt| attempt.overdue_at).max();
        let overdue = overdue.map_or(never, |at| {
            at.plus(rules.window).max(at.plus(rules.longest_lock).plus(rules.longest_lock))
        });
        self.stale_at = failures.max(locks).max(overdue);
    }
}
