//! Time as the rules see it: milliseconds since 1970, from a clock that is injected and never runs backwards.
//!
//! The idea: time is a steady clock plus an offset that only grows. When the wall clock is set forward the offset
//! follows, which may end a token early; when it is set back the offset stays, so that no token lives longer
//! (`security.md` T4).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A point in time in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time `duration` later, parts of a millisecond dropped; the last representable time if there is none.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The time `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Whole milliseconds of a duration, as many as fit.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What the machine says about time. Implemented over the operating system in `cli`, by hand in tests.
pub trait TimeSource: Send + Sync {
    /// The wall clock, which may jump in either direction.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed moment, which only grows and counts a suspended machine's sleep too.
    fn steady(&self) -> Duration;
}

/// The clock by which every expiry is judged. Clones are one clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Box<dyn TimeSource>,
    offset: AtomicI64,
}

impl Clock {
    /// A clock that follows the wall clock of `source` forward, never backward.
    pub fn new(source: impl TimeSource + 'static) -> Self {
        Self(Arc::new(Inner { source: Box::new(source), offset: AtomicI64::new(i64::MIN) }))
    }

    /// The time now; never earlier than what this clock has told any caller that happened before.
    pub fn now(&self) -> Timestamp {
        // The wall clock first: a thread that is stopped between the two sees it too early, which changes nothing.
        let wall = self.0.source.wall().as_millis();
        let steady = millis(self.0.source.steady());
        let seen = wall.saturating_sub(steady);
        let mut offset = self.0.offset.load(Ordering::Relaxed);
        if seen > offset {
            offset = self.0.offset.fetch_max(seen, Ordering::Relaxed).max(seen);
        }
        Timestamp(steady.saturating_add(offset))
    }

    /// Time since some fixed moment, by which leases are counted: it only grows, and nothing sets it.
    pub fn steady(&self) -> Duration {
        self.0.source.steady()
    }

    /// Moves the clock to `time` unless it is there already. Called with the latest time found in the journal, so
    /// that a machine whose clock was set back while Doorward was down does not lengthen any session. Returns how
    /// far the wall clock lies behind.
    pub fn not_before(&self, time: Timestamp) -> Duration {
        let now = self.now();
        let behind = time.since(now);
        if !behind.is_zero() {
            let steady = millis(self.0.source.steady());
            self.0.offset.fetch_max(time.as_millis().saturating_sub(steady), Ordering::Relaxed);
        }
        behind
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone)]
    struct Hands(Arc<Mutex<(i64, u64)>>);

    impl TimeSource for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().0)
        }
        fn steady(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    #[test]
    fn t4_follows_the_wall_forward_and_never_back() {
        let hands = Hands(Arc::new(Mutex::new((1_000_000, 50))));
        let clock = Clock::new(hands.clone());
        assert_eq!(clock.now().as_millis(), 1_000_000);
        *hands.0.lock().unwrap() = (1_000_500, 550);
        assert_eq!(clock.now().as_millis(), 1_000_500);
        *hands.0.lock().unwrap() = (400_000, 650);
        assert_eq!(clock.now().as_millis(), 1_000_600, "a wall clock set back is not followed");
        *hands.0.lock().unwrap() = (2_000_000, 750);
        assert_eq!(clock.now().as_millis(), 2_000_000, "a wall clock set forward is followed");
    }

    /// A thread may be stopped for an hour between its two readings; time must not be an hour ahead for that.
    #[test]
    fn t4_a_thread_that_is_stopped_between_two_readings_moves_nothing() {
        struct Stopping(Mutex<(i64, bool)>);
        impl Stopping {
            fn read(&self) -> i64 {
                let mut state = self.0.lock().unwrap();
                let now = state.0;
                if std::mem::take(&mut state.1) {
                    state.0 += 3_600_000;
                }
                now
            }
        }
        struct Shared(Arc<Stopping>);
        impl TimeSource for Shared {
            fn wall(&self) -> Timestamp {
                Timestamp::from_millis(self.0.read())
            }
            fn steady(&self) -> Duration {
                Duration::from_millis(self.0.read().try_into().unwrap())
            }
        }
        let machine = Arc::new(Stopping(Mutex::new((1_000_000, false))));
        let clock = Clock::new(Shared(machine.clone()));
        assert_eq!(clock.now().as_millis(), 1_000_000);
        machine.0.lock().unwrap().1 = true;
        clock.now();
        assert_eq!(clock.now().as_millis(), 4_600_000, "an hour has passed, and no more");
    }

    #[test]
    fn t4_starts_no_earlier_than_the_journal() {
        let hands = Hands(Arc::new(Mutex::new((1_000_000, 50))));
        let clock = Clock::new(hands.clone());
        assert_eq!(clock.not_before(Timestamp::from_millis(1_060_000)), Duration::from_secs(60));
        assert_eq!(clock.now().as_millis(), 1_060_000);
        *hands.0.lock().unwrap() = (1_000_010, 60);
        assert_eq!(clock.now().as_millis(), 1_060_010, "it runs on at the speed of time");
        assert_eq!(clock.not_before(Timestamp::from_millis(5)), Duration::ZERO);
    }
}
