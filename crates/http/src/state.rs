//! What every handler can reach.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use doorward_domain::{
    address::TrustedProxies,
    administration::Administration,
    doorkeeper::Doorkeeper,
    instance::Standing,
    journal::StoreError,
    sessions::{Progress, Reading},
};

use crate::metrics::Metrics;

/// Bounds on a request: on its body, applied before anything in it is looked at (`security.md` H5), and on its answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body.
    pub body_bytes: usize,
    /// The longest time in which it must have arrived.
    pub body_timeout: Duration,
    /// The longest time that a login or a release waits for what it needs.
    pub answer_timeout: Duration,
}

impl Default for Limits {
    /// 64 KiB within ten seconds, and an answer within as many.
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self { body_bytes: 64 * 1024, body_timeout: timeout, answer_timeout: timeout }
    }
}

/// Whether this instance should be sent requests. Clones are one.
#[derive(Clone, Default)]
pub struct Readiness {
    is_open: Arc<AtomicBool>,
    /// How it stands among the instances that work on one store, if there are others.
    standing: Option<Standing>,
    /// How far a start is with reading sessions.
    reading: Arc<Reading>,
}

impl Readiness {
    /// That of an instance that must not be sent requests while sessions are missing in memory: logins are answered, and
    /// most verifications are not.
    pub fn after(reading: Arc<Reading>) -> Self {
        Self { reading, ..Self::default() }
    }

    /// That of an instance that must not be sent requests while it has no lease.
    pub fn following(standing: Standing) -> Self {
        Self { standing: Some(standing), ..Self::default() }
    }

    /// Says that it should, or no longer.
    pub fn set(&self, is_ready: bool) {
        self.is_open.store(is_ready, Ordering::Release);
    }

    /// Whether it should.
    pub fn get(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
            && self.reading().is_none()
            && self.standing.as_ref().is_none_or(Standing::may_answer)
    }

    /// How far the reading of sessions is, while it is under way.
    pub(crate) fn reading(&self) -> Option<Progress> {
        self.reading.progress()
    }

    /// Whether it is one of several, and has a lease.
    pub(crate) fn has_lease(&self) -> bool {
        self.standing.as_ref().is_some_and(Standing::may_answer)
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

impl State {
    /// Does what a login or a release needs, if that takes no longer than it may. What is given up may be done all the same;
    /// until the store has come to an end of what it is at, nobody else is let wait for it.
    pub(crate) async fn in_time<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        late: impl FnOnce(StoreError) -> E,
    ) -> Result<T, E> {
        let limit = self.limits.answer_timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            self.doorkeeper.give_up_waiting();
            let limit = humantime::format_duration(limit);
            Err(late(StoreError::Unavailable(format!(
                "it took longer than {limit}, which is 'limits.answer_timeout'"
            ))))
        })
    }
}
