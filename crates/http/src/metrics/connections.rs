//! What is counted of the connections of a listener.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

/// The counts of one listener. Clones are one.
#[derive(Clone, Default)]
pub struct ConnectionCounts {
    /// Connections that there are now.
    pub(crate) open: Gauge,
    /// Connections that were closed at once.
    pub(crate) refused: Counter,
    /// Idle connections that made room.
    pub(crate) displaced: Counter,
    /// Connections that were closed because their client took nothing.
    pub(crate) stalled: Counter,
    /// Times that a connection could not be taken from the operating system.
    pub(crate) failures: Counter,
}

/// The counts of all listeners.
#[derive(Default)]
pub(super) struct ConnectionMetrics {
    open: Family<ListenerLabel, Gauge>,
    refused: Family<ListenerLabel, Counter>,
    displaced: Family<ListenerLabel, Counter>,
    stalled: Family<ListenerLabel, Counter>,
    failures: Family<ListenerLabel, Counter>,
}

impl ConnectionMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections by listener", self.open.clone());
        let counters = [
            (
                "connections_refused",
                "Connections that were closed at once, for want of a place",
                &self.refused,
            ),
            ("connections_displaced", "Idle connections that were closed to make room", &self.displaced),
            (
                "connections_stalled",
                "Connections that were closed because their client took nothing of an answer",
                &self.stalled,
            ),
            (
                "accept_failures",
                "Times that the operating system did not hand a connection over",
                &self.failures,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }

    /// The counts of a listener.
    pub(super) fn of(&self, listener: &'static str) -> ConnectionCounts {
        let label = ListenerLabel { listener };
        ConnectionCounts {
            open: self.open.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            displaced: self.displaced.get_or_create_owned(&label),
            stalled: self.stalled.get_or_create_owned(&label),
            failures: self.failures.get_or_create_owned(&label),
        }
    }
}
