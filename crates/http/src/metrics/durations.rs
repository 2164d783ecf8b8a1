//! A histogram of durations without a lock: every verification is counted here, and the library's histogram would have
//! them all meet at one mutex.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Counts durations by powers of four from 50 microseconds to 13 seconds. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations(Arc<Inner>);

/// Upper bounds in microseconds; longer ones have a bucket of their own.
const BOUNDS: [u64; 10] = [50, 200, 800, 3_200, 12_800, 51_200, 204_800, 819_200, 3_276_800, 13_107_200];

#[derive(Debug, Default)]
struct Inner {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub(super) fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= bound * 1000).unwrap_or(BOUNDS.len());
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        // Of the buckets as they were read, so that the count never differs from their sum.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn is_written_as_prometheus_reads_histograms() {
        let durations = Durations::default();
        for micros in [10, 50, 51, 900, 20_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("took", "Time", durations);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "took_sum 20.001011",
            "took_count 5",
            "took_bucket{le=\"0.00005\"} 2",
            "took_bucket{le=\"0.0002\"} 3",
            "took_bucket{le=\"0.0008\"} 3",
            "took_bucket{le=\"0.0032\"} 4",
            "took_bucket{le=\"13.1072\"} 4",
            "took_bucket{le=\"+Inf\"} 5",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }
}
