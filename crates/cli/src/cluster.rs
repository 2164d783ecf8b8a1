//! What one of several instances says of itself: to the log, to metrics, and to whoever waits for its first lease.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use doorward_domain::{
    cluster::{ClusterObserver, InstanceId, LogNumber, StoreClock, StoreTime},
    journal::StoreError,
};
use doorward_http::metrics::Metrics;
use tokio::sync::watch;

use crate::config::Config;

/// What operators and other instances call this one.
pub(crate) fn name(config: &Config) -> String {
    config.cluster.name.clone().unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{host}:{}", config.listen.api.port())
    })
}

/// How far an instance has come that is to join.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Joining {
    #[default]
    Waiting,
    Joined,
    /// It may not, for this reason.
    Refused(String),
}

/// Keeps the clock, counts, and tells the log.
pub(crate) struct Watcher {
    pub(crate) clock: StoreClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) joining: watch::Sender<Joining>,
    /// When which kind of failure was last told, and how many were not told since.
    pub(crate) told: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

/// How often the same kind of failure is told at most: while the database is away, everything fails many times a second.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Watcher {
    /// How many failures of this kind were not told since the last that was; `None` if this one need not be told.
    fn untold(&self, what: &'static str) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match told.get_mut(what) {
            Some((at, untold)) if now < *at + TOLD_AGAIN_AFTER => {
                *untold += 1;
                None
            }
            _ => Some(told.insert(what, (now, 0)).map_or(0, |(_, untold)| untold)),
        }
    }
}

impl ClusterObserver for Watcher {
    fn told_time(&self, time: StoreTime, sent: Duration, answered: Duration) {
        self.clock.hear(time, sent, answered);
    }

    fn registered(&self, instance: InstanceId) {
        tracing::info!(instance = instance.0, "this instance has joined the others");
        self.joining.send_replace(Joining::Joined);
        self.metrics.cluster().registered(instance);
    }

    fn may_not_join(&self, reason: &str) {
        tracing::error!(reason, "this instance may not join the others");
        self.joining.send_replace(Joining::Refused(reason.to_owned()));
    }

    fn lost_registration(&self, reason: &str) {
        tracing::warn!(reason, "this instance was taken for dead; it forgets all sessions and joins again");
    }

    fn lease_missed(&self) {
        self.metrics.cluster().lease_missed();
    }

    fn failed(&self, what: &'static str, error: &StoreError) {
        if let Some(untold) = self.untold(what) {
            tracing::warn!(what, %error, untold, "the database did not do what the instances need; it is tried again");
        }
        self.metrics.cluster().failed(what, error);
    }

    fn head_seen(&self, head: LogNumber) {
        self.metrics.cluster().head_seen(head);
    }

    fn applied(&self, applied: LogNumber) {
        self.metrics.cluster().applied(applied);
    }

    fn came_into_force(&self, number: LogNumber, is_by_all: bool, took: Duration) {
        if !is_by_all {
            tracing::warn!(
                number = number.0,
                "an instance did not acknowledge a release; it was answered when the leases of before it were over"
            );
        }
        self.metrics.cluster().came_into_force(number, is_by_all, took);
    }

    fn fetched(&self, is_found: Result<bool, &StoreError>, took: Duration) {
        self.metrics.cluster().fetched(is_found, took);
    }

    fn removed(&self, instance: InstanceId) {
        tracing::warn!(
            instance = instance.0,
            "an instance was silent for a lease; nobody waits for it any more"
        );
        self.metrics.cluster().removed(instance);
    }
}
