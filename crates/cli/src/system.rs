//! The machine behind the rules: its clocks, its random numbers, its scheduler.

use std::time::{Duration, UNIX_EPOCH};

use doorward_domain::{
    clock::{TimeSource, Timestamp},
    random::{NoRandomness, Randomness},
};
use rustix::time::{ClockId, clock_gettime};

/// The operating system's clocks.
pub(crate) struct SystemTime;

/// Linux counts a suspended machine's sleep in this one.
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

/// The operating system's generator.
pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}

/// Lets everything else on the machine run before this thread.
pub(crate) fn lower_priority() {
    // On Linux this is the calling thread's own priority. Without it logins still work, only less politely.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "the priority of a hashing thread cannot be lowered");
    }
}
