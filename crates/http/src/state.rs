//! What every handler can reach.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use doorward_domain::{address::TrustedProxies, administration::Administration, doorkeeper::Doorkeeper};

use crate::metrics::Metrics;

/// Bounds on a request's body, applied before anything in it is looked at (`security.md` H5).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body.
    pub body_bytes: usize,
    /// The longest time in which it must have arrived.
    pub body_timeout: Duration,
}

impl Default for Limits {
    /// 64 KiB within ten seconds.
    fn default() -> Self {
        Self { body_bytes: 64 * 1024, body_timeout: Duration::from_secs(10) }
    }
}

/// Whether this instance should be sent requests. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it should, or no longer.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Release);
    }

    /// Whether it should.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The state of the server; clones are one.
#[derive(Clone)]
pub struct State {
    /// Who decides.
    pub doorkeeper: Arc<Doorkeeper>,
    /// What administrators do.
    pub administration: Arc<Administration>,
    /// Who counts.
    pub metrics: Arc<Metrics>,
    /// The bounds of a request.
    pub limits: Limits,
    /// Who is believed about where a request comes from.
    pub proxies: Arc<TrustedProxies>,
    /// Whether requests are welcome.
    pub readiness: Readiness,
}
