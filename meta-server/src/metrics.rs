//! What the node counts, in the form that Prometheus reads.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;

/// One label with values known when the program is compiled.
type Label = [(&'static str, &'static str); 1];

/// The node's numbers. Gauges of Raft are set just before each scrape.
pub(crate) struct Metrics {
    registry: Registry,
    proposals: Family<Label, Counter>,
    queries: Family<Label, Counter>,
    peer_failures: Family<Label, Counter>,
    /// Time from taking a command in to its reply.
    pub(crate) proposal_seconds: Histogram,
    /// Read rounds, each for all queries that waited.
    pub(crate) read_rounds: Counter,
    /// Commands between submission and reply.
    pub(crate) proposals_in_flight: Gauge,
    /// Client streams.
    pub(crate) streams: Gauge,
    /// Sessions the leader follows.
    pub(crate) sessions: Gauge,
    /// Sessions that were expired.
    pub(crate) sessions_expired: Counter,
    /// Files without names that were deleted.
    pub(crate) orphans_reaped: Counter,
    /// Times this node became leader.
    pub(crate) leaderships: Counter,
    pub(crate) raft: RaftGauges,
}

/// What a scrape reads from Raft and the disk.
#[derive(Default)]
pub(crate) struct RaftGauges {
    pub(crate) leading: Gauge,
    pub(crate) ready: Gauge,
    pub(crate) term: Gauge,
    pub(crate) last_log_index: Gauge,
    pub(crate) committed_index: Gauge,
    pub(crate) applied_index: Gauge,
    pub(crate) snapshot_index: Gauge,
    pub(crate) purged_index: Gauge,
    pub(crate) free_bytes: Gauge,
    pub(crate) reserve_bytes: Gauge,
    pub(crate) clock_apart_ms: Gauge,
    pub(crate) poisoned: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("curlew_meta");
        let proposals = Family::default();
        registry.register(
            "proposals",
            "Commands, by how they ended",
            proposals.clone(),
        );
        let queries = Family::default();
        registry.register("queries", "Queries, by how they ended", queries.clone());
        let peer_failures = Family::default();
        let help = "Calls to peers that failed, by kind of call";
        registry.register("peer_failures", help, peer_failures.clone());
        let proposal_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        let help = "Seconds from a command to its reply";
        registry.register("proposal_seconds", help, proposal_seconds.clone());
        let metrics = Self {
            proposals,
            queries,
            peer_failures,
            proposal_seconds,
            read_rounds: Counter::default(),
            proposals_in_flight: Gauge::default(),
            streams: Gauge::default(),
            sessions: Gauge::default(),
            sessions_expired: Counter::default(),
            orphans_reaped: Counter::default(),
            leaderships: Counter::default(),
            raft: RaftGauges::default(),
            registry: Registry::default(),
        };
        metrics.register_counts(&mut registry);
        metrics.raft.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    fn register_counts(&self, registry: &mut Registry) {
        let counters = [
            (
                "read_rounds",
                "Rounds that confirmed leadership for reads",
                &self.read_rounds,
            ),
            (
                "sessions_expired",
                "Sessions ended for their silence",
                &self.sessions_expired,
            ),
            (
                "orphans_reaped",
                "Files without names that were deleted",
                &self.orphans_reaped,
            ),
            (
                "leaderships",
                "Times this node became leader",
                &self.leaderships,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            (
                "proposals_in_flight",
                "Commands without a reply yet",
                &self.proposals_in_flight,
            ),
            ("streams", "Connected clients", &self.streams),
            (
                "sessions",
                "Sessions that the leader follows",
                &self.sessions,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts a command that ended so.
    pub(crate) fn proposal(&self, result: &'static str) {
        self.proposals.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a query that ended so.
    pub(crate) fn query(&self, result: &'static str) {
        self.queries.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a failed call to a peer.
    pub(crate) fn peer_failure(&self, call: &'static str) {
        self.peer_failures.get_or_create(&[("call", call)]).inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl RaftGauges {
    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("leading", "1 while this node leads", &self.leading),
            ("ready", "1 once this node has caught up", &self.ready),
            ("term", "Current term", &self.term),
            (
                "last_log_index",
                "Last entry of the log",
                &self.last_log_index,
            ),
            (
                "committed_index",
                "Last committed entry",
                &self.committed_index,
            ),
            ("applied_index", "Last applied entry", &self.applied_index),
            (
                "snapshot_index",
                "Last entry in a snapshot",
                &self.snapshot_index,
            ),
            (
                "purged_index",
                "Last entry purged from the log",
                &self.purged_index,
            ),
            (
                "free_bytes",
                "Free bytes of the data directory",
                &self.free_bytes,
            ),
            (
                "reserve_bytes",
                "Free bytes below which growth is refused",
                &self.reserve_bytes,
            ),
            (
                "clock_apart_ms",
                "Largest distance to a peer's clock",
                &self.clock_apart_ms,
            ),
            ("poisoned", "1 if the store failed", &self.poisoned),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}

/// An unsigned number as a gauge takes it.
pub(crate) fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_number_once() {
        let metrics = Metrics::default();
        metrics.proposal("done");
        metrics.query("answered");
        metrics.peer_failure("append");
        metrics.raft.term.set(7);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("curlew_meta_proposals_total{result=\"done\"} 1"),
            "{text}"
        );
        assert!(text.contains("curlew_meta_term 7"), "{text}");
        assert_eq!(
            text.matches("# HELP curlew_meta_streams ").count(),
            1,
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
