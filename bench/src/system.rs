//! The machine's clocks and random numbers, as `crates/cli/src/system.rs` has them.

use std::time::{Duration, UNIX_EPOCH};

use doorward_domain::{
    clock::{TimeSource, Timestamp},
    random::{NoRandomness, Randomness},
};
use rustix::time::{ClockId, clock_gettime};

pub(crate) struct SystemTime;

#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

impl TimeSource for SystemTime {
    #[expect(clippy::disallowed_methods, reason = "this is where the system clock comes in")]
    fn wall(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(0).plus(since_epoch)
    }

    fn steady(&self) -> Duration {
        let time = clock_gettime(STEADY);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}
