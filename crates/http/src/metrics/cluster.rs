//! What is counted of an instance that works on a store with others.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use doorward_domain::{
    cluster::{ClusterObserver, InstanceId, LogNumber},
    journal::StoreError,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::durations::Durations;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The metrics of a cluster. On one machine alone all of them stay at nothing.
#[derive(Default)]
pub struct ClusterMetrics {
    /// The furthest end of the release log that was seen, and how far it is applied.
    head: AtomicU64,
    applied: AtomicU64,
    lag: Gauge,
    lease: Gauge,
    lease_misses: Counter,
    registrations: Counter,
    removals: Counter,
    failures: Counter,
    fetches: Family<OutcomeLabel, Counter>,
    fetch_seconds: Durations,
    releases: Family<OutcomeLabel, Counter>,
    release_seconds: Durations,
}

impl ClusterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "cluster_lease_misses",
                "Renewals of the lease that failed or came too late",
                &self.lease_misses,
            ),
            ("cluster_registrations", "Registrations of this instance", &self.registrations),
            ("cluster_removals", "Silent instances that this one has removed", &self.removals),
            ("cluster_failures", "Calls of the database by the cluster's loops that failed", &self.failures),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "cluster_lease",
            "1 while this instance has a lease and may answer",
            self.lease.clone(),
        );
        registry.register(
            "cluster_log_lag",
            "Records of the release log that are not applied yet",
            self.lag.clone(),
        );
        let help = "Sessions asked of the database: found, absent, or failed; all other looks were answered from memory";
        registry.register("cluster_fetches", help, self.fetches.clone());
        let help = "Time until the database answered about a session";
        registry.register_with_unit("cluster_fetch", help, Unit::Seconds, self.fetch_seconds.clone());
        let help = "Commits that came into force: all instances acknowledged them, or a lease had passed";
        registry.register("cluster_releases", help, self.releases.clone());
        let help = "Time from the commit of what ends sessions until it was in force on all instances";
        registry.register_with_unit("cluster_release", help, Unit::Seconds, self.release_seconds.clone());
        for outcome in ["found", "absent", "failed"] {
            drop(self.fetches.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in ["acknowledged", "lease_passed"] {
            drop(self.releases.get_or_create(&OutcomeLabel { outcome }));
        }
    }

    /// Brings the gauges up to date.
    pub(super) fn refresh(&self, has_lease: bool) {
        self.lease.set(has_lease.into());
        let [head, applied] = [&self.head, &self.applied].map(|number| number.load(Ordering::Relaxed));
        self.lag.set(i64::try_from(head.saturating_sub(applied)).unwrap_or(i64::MAX));
    }
}

impl ClusterObserver for ClusterMetrics {
    fn registered(&self, _: InstanceId) {
        self.registrations.inc();
    }

    fn lease_missed(&self) {
        self.lease_misses.inc();
    }

    fn failed(&self, _: &'static str, _: &StoreError) {
        self.failures.inc();
    }

    fn head_seen(&self, head: LogNumber) {
        self.head.fetch_max(head.0, Ordering::Relaxed);
    }

    fn applied(&self, applied: LogNumber) {
        self.applied.store(applied.0, Ordering::Relaxed);
    }

    fn came_into_force(&self, _: LogNumber, is_by_all: bool, took: Duration) {
        let outcome = if is_by_all { "acknowledged" } else { "lease_passed" };
        self.releases.get_or_create(&OutcomeLabel { outcome }).inc();
        self.release_seconds.observe(took);
    }

    fn fetched(&self, is_found: Result<bool, &StoreError>, took: Duration) {
        let outcome = match is_found {
            Ok(true) => "found",
            Ok(false) => "absent",
            Err(_) => "failed",
        };
        self.fetches.get_or_create(&OutcomeLabel { outcome }).inc();
        self.fetch_seconds.observe(took);
    }

    fn removed(&self, _: InstanceId) {
        self.removals.inc();
    }
}
