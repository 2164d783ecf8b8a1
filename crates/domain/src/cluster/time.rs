//! The store's time on an instance, so that idle time means the same on all of them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::StoreTime;
use crate::clock::{TimeSource, Timestamp, millis};

/// How long a reading of the store's clock stands when later ones are less exact.
const STANDS_FOR: Duration = Duration::from_secs(60);

/// The store's clock, as an instance can know it: the instance's own steady clock, and the distance between the two, which
/// is measured with each renewal of the lease. Its wall clock says 1970 until the first of them. Clones are one.
#[derive(Clone)]
pub struct StoreClock(Arc<Inner>);

struct Inner {
    steady: Box<dyn TimeSource>,
    /// What is added to the steady clock, in milliseconds.
    distance: AtomicI64,
    best: Mutex<Option<Reading>>,
}

/// A reading of the store's clock. It was taken at some moment of a call; the longer that took, the less is known.
#[derive(Clone, Copy)]
struct Reading {
    distance: i64,
    /// By how much the distance may be wrong, in either direction.
    doubt: i64,
    at: Duration,
}

impl Reading {
    /// Whether both may be right.
    fn agrees_with(self, other: Self) -> bool {
        self.distance.abs_diff(other.distance) <= (self.doubt + other.doubt).unsigned_abs()
    }
}

impl StoreClock {
    /// A clock that has not heard of the store yet. Only the steady clock of `machine` is used.
    pub fn new(machine: impl TimeSource + 'static) -> Self {
        let (distance, best) = (AtomicI64::new(0), Mutex::new(None));
        Self(Arc::new(Inner { steady: Box::new(machine), distance, best }))
    }

    /// Learns what time it was in the store at some moment between two readings of the steady clock. The most exact of the
    /// last readings stands, unless a later one contradicts it: then the store's clock was set, or it is another store. The
    /// first is not earlier than what another instance has recorded.
    pub fn hear(&self, time: StoreTime, sent: Duration, answered: Duration) {
        let doubt = millis(answered.saturating_sub(sent)) / 2 + 1;
        let middle = millis(sent) + doubt - 1;
        let mut new = Reading { distance: time.now.as_millis().saturating_sub(middle), doubt, at: answered };
        let mut best = self.0.best.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = best.is_some_and(|best| {
            best.doubt < new.doubt && answered < best.at + STANDS_FOR && best.agrees_with(new)
        });
        if stands {
            return;
        }
        if best.is_none()
            && let Some(latest) = time.latest
        {
            // The store's clock may have been set back since another instance read it.
            new.distance = new.distance.max(latest.as_millis().saturating_sub(middle));
        }
        *best = Some(new);
        self.0.distance.store(new.distance, Ordering::Relaxed);
    }
}

impl TimeSource for StoreClock {
    fn wall(&self) -> Timestamp {
        let distance = self.0.distance.load(Ordering::Relaxed);
        Timestamp::from_millis(millis(self.steady()).saturating_add(distance))
    }

    fn steady(&self) -> Duration {
        self.0.steady.steady()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl TimeSource for Still {
        fn wall(&self) -> Timestamp {
            unreachable!("the machine's wall clock is nobody's")
        }
        fn steady(&self) -> Duration {
            Duration::from_secs(100)
        }
    }

    fn at(millis: i64) -> StoreTime {
        StoreTime { now: Timestamp::from_millis(1_700_000_000_000 + millis), latest: None }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_secs(100) + Duration::from_millis(millis)
    }

    /// The wall clock when the steady one stands at 100 s.
    fn wall(clock: &StoreClock) -> i64 {
        clock.wall().as_millis() - 1_700_000_000_000
    }

    #[test]
    fn the_most_exact_reading_stands() {
        let clock = StoreClock::new(Still);
        clock.hear(at(0), ms(0), ms(1_000));
        assert_eq!(wall(&clock), -500);
        clock.hear(at(1_000), ms(1_000), ms(1_010));
        assert_eq!(wall(&clock), -5, "a quicker answer knows more");
        clock.hear(at(2_300), ms(2_000), ms(3_000));
        assert_eq!(wall(&clock), -5, "a slower one that agrees knows less");
    }

    #[test]
    fn time_does_not_start_before_what_others_have_recorded() {
        let clock = StoreClock::new(Still);
        let recorded = |millis| StoreTime { latest: Some(at(millis).now), ..at(0) };
        clock.hear(recorded(70_000), ms(0), ms(2));
        assert_eq!(wall(&clock), 69_999);
        clock.hear(recorded(900_000), ms(0), ms(2));
        assert_eq!(wall(&clock), -1, "later it is the clock's own business not to run backwards");
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let clock = StoreClock::new(Still);
        clock.hear(at(0), ms(0), ms(2));
        clock.hear(at(601_000), ms(1_000), ms(1_100));
        assert_eq!(wall(&clock), 599_950);
    }

    #[test]
    fn an_old_reading_gives_way_for_clocks_drift_apart() {
        let clock = StoreClock::new(Still);
        clock.hear(at(0), ms(0), ms(2));
        clock.hear(at(70_010), ms(70_000), ms(70_030));
        assert_eq!(wall(&clock), -5);
    }
}
