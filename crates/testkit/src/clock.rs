//! A clock whose hands tests move.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use doorward_domain::clock::{TimeSource, Timestamp};

/// A machine's clocks; clones are the same machine's.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    wall: Timestamp,
    steady: Duration,
}

impl Default for TestClock {
    /// A morning in November 2026.
    fn default() -> Self {
        let wall = Timestamp::from_millis(1_795_491_362_000);
        Self(Arc::new(Mutex::new(Hands { wall, steady: Duration::from_secs(60) })))
    }
}

impl TestClock {
    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.wall = hands.wall.plus(duration);
        hands.steady += duration;
    }

    /// Sets the wall clock, as an operator or a time server may, while time itself stands still.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
    }
}

impl TimeSource for TestClock {
    fn wall(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    fn steady(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).steady
    }
}
