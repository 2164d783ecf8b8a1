//! Metrics in the Prometheus text format. Handles are resolved once: counting a request is a few atomic additions.

mod cluster;
mod connections;
mod durations;

use std::time::Duration;

use doorward_domain::{
    catalogue::KeyCounts,
    doorkeeper::Doorkeeper,
    observer::{LoginOutcome, Observer},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use self::{cluster::ClusterMetrics, connections::ConnectionCounts};
use self::{connections::ConnectionMetrics, durations::Durations};
use crate::{
    error::{ApiError, ErrorCode},
    router::Endpoint,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    method: &'static str,
    outcome: &'static str,
}

/// The handles of one endpoint.
struct EndpointMetrics {
    /// One for each outcome of [`OUTCOMES`].
    requests: Vec<Counter>,
    seconds: Durations,
}

/// `ok`, the codes of the error table, and `error` for what has none of them.
const OUTCOMES: [&str; ApiError::CODES.len() + 2] = {
    let mut outcomes = ["ok"; ApiError::CODES.len() + 2];
    let mut i = 0;
    while i < ApiError::CODES.len() {
        outcomes[i + 1] = ApiError::CODES[i];
        i += 1;
    }
    outcomes[ApiError::CODES.len() + 1] = "error";
    outcomes
};

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    endpoints: Vec<EndpointMetrics>,
    logins: Family<LoginLabels, Counter>,
    sessions: Family<MethodLabel, Gauge>,
    commit_seconds: Durations,
    commit_entries: Histogram,
    hash_wait_seconds: Durations,
    hash_queue: Gauge,
    keys_expiring: Gauge,
    keys_unused: Gauge,
    journal_queue: Gauge,
    uses_backlog: Gauge,
    connections: ConnectionMetrics,
    cluster: ClusterMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("doorward");
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<EndpointLabel, Durations>::default();
        registry.register("requests", "Requests by endpoint and outcome", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a request's headers to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let endpoints = Endpoint::ALL
            .iter()
            .map(|endpoint| EndpointMetrics {
                requests: OUTCOMES
                    .iter()
                    .map(|outcome| {
                        requests.get_or_create_owned(&RequestLabels { endpoint: endpoint.as_str(), outcome })
                    })
                    .collect(),
                seconds: durations.get_or_create_owned(&EndpointLabel { endpoint: endpoint.as_str() }),
            })
            .collect();
        let metrics = Self {
            endpoints,
            logins: Family::default(),
            sessions: Family::default(),
            commit_seconds: Durations::default(),
            commit_entries: Histogram::new((0..12).map(|power| f64::from(1 << power))),
            hash_wait_seconds: Durations::default(),
            hash_queue: Gauge::default(),
            keys_expiring: Gauge::default(),
            keys_unused: Gauge::default(),
            journal_queue: Gauge::default(),
            uses_backlog: Gauge::default(),
            connections: ConnectionMetrics::default(),
            cluster: ClusterMetrics::default(),
            registry: Registry::default(),
        };
        registry.register("logins", "Logins by method and outcome", metrics.logins.clone());
        registry.register(
            "sessions",
            "Sessions in memory by kind, those that ended since the last sweep included",
            metrics.sessions.clone(),
        );
        registry.register_with_unit(
            "journal_commit",
            "Time of a commit of the journal",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "journal_commit_entries",
            "Entries that shared a commit of the journal",
            metrics.commit_entries.clone(),
        );
        registry.register_with_unit(
            "hash_wait",
            "Time that a login waited for a hashing thread",
            Unit::Seconds,
            metrics.hash_wait_seconds.clone(),
        );
        registry.register(
            "hash_queue",
            "Logins that wait for a hashing thread now",
            metrics.hash_queue.clone(),
        );
        registry.register(
            "keys_expiring",
            "Web API keys in use that expire within 30 days or have expired",
            metrics.keys_expiring.clone(),
        );
        registry.register(
            "keys_unused",
            "Web API keys in use that are older than 90 days and were not used in them",
            metrics.keys_unused.clone(),
        );
        registry.register(
            "journal_queue",
            "Entries that wait for a commit of the journal now",
            metrics.journal_queue.clone(),
        );
        registry.register(
            "uses_backlog",
            "Uses of tokens that were due to be written when it was last tried, and are not written",
            metrics.uses_backlog.clone(),
        );
        metrics.connections.register(&mut registry);
        metrics.cluster.register(&mut registry);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a request.
    pub(crate) fn request(
        &self,
        endpoint: Endpoint,
        code: Option<ErrorCode>,
        is_success: bool,
        took: Duration,
    ) {
        let metrics = &self.endpoints[endpoint as usize];
        let outcome = match code {
            Some(code) => OUTCOMES.iter().position(|outcome| *outcome == code.0),
            None => is_success.then_some(0),
        };
        metrics.requests[outcome.unwrap_or(OUTCOMES.len() - 1)].inc();
        metrics.seconds.observe(took);
    }

    /// Tells how many keys want attention.
    pub fn set_keys(&self, counts: KeyCounts) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.keys_expiring.set(number(counts.expiring));
        self.keys_unused.set(number(counts.unused));
    }

    /// The counts of a listener's connections.
    pub fn connections(&self, listener: &'static str) -> ConnectionCounts {
        self.connections.of(listener)
    }

    /// What is counted of the cluster, if there is one.
    pub fn cluster(&self) -> &ClusterMetrics {
        &self.cluster
    }

    /// Writes everything in the Prometheus text format.
    pub(crate) fn encode(&self, doorkeeper: &Doorkeeper, has_lease: bool) -> String {
        let held = doorkeeper.sessions_held();
        let set = |method, count: u64| {
            self.sessions
                .get_or_create(&MethodLabel { method })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set("password", held.password);
        set("web_api_key", held.web_api_key);
        self.hash_queue.set(i64::try_from(doorkeeper.logins_waiting()).unwrap_or(i64::MAX));
        self.journal_queue.set(i64::try_from(doorkeeper.entries_waiting()).unwrap_or(i64::MAX));
        self.uses_backlog.set(i64::try_from(doorkeeper.uses_waiting()).unwrap_or(i64::MAX));
        self.cluster.refresh(has_lease);
        let mut text = String::new();
        // Writing into a `String` does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Observer for Metrics {
    fn committed(&self, entries: usize, took: Duration) {
        self.commit_seconds.observe(took);
        self.commit_entries.observe(entries as f64);
    }

    fn hash_waited(&self, waited: Duration) {
        self.hash_wait_seconds.observe(waited);
    }

    fn login(&self, method: &'static str, outcome: LoginOutcome) {
        let outcome = match outcome {
            LoginOutcome::Issued => "issued",
            LoginOutcome::InvalidCredentials => "invalid_credentials",
            LoginOutcome::InvalidUnit => "invalid_unit",
            LoginOutcome::PasswordChangeRequired => "password_change_required",
            LoginOutcome::Unavailable => "unavailable",
        };
        self.logins.get_or_create(&LoginLabels { method, outcome }).inc();
    }
}
