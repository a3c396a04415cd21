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
    /// Rounds that asked a majority, each for all queries that waited.
    pub(crate) read_rounds: Counter,
    /// Reads that this node's lease as a leader answered, without a word to the others.
    pub(crate) lease_reads: Counter,
    /// Questions of this node to its leader, each for all queries that waited.
    pub(crate) follower_rounds: Counter,
    /// Commands between submission and reply.
    pub(crate) proposals_in_flight: Gauge,
    /// Client streams.
    pub(crate) streams: Gauge,
    /// Clients that were left because they took no answers.
    pub(crate) streams_stuck: Counter,
    /// Sessions the leader follows.
    pub(crate) sessions: Gauge,
    /// Leases that clients hold.
    pub(crate) leases: Gauge,
    /// Questions to holders before a change.
    pub(crate) lease_recalls: Counter,
    /// Holders that did not answer in their time.
    pub(crate) lease_timeouts: Counter,
    /// Sessions that were expired.
    pub(crate) sessions_expired: Counter,
    /// Files without names that were deleted.
    pub(crate) orphans_reaped: Counter,
    /// Times this node became leader.
    pub(crate) leaderships: Counter,
    /// Followers of changelogs.
    pub(crate) changelog_streams: Gauge,
    /// Records sent to them.
    pub(crate) changelog_records: Counter,
    /// Streams from origins that this node opened for its mirrors.
    pub(crate) mirror_streams: Counter,
    /// Times a mirror had no stream.
    pub(crate) mirror_trouble: Counter,
    /// Records of origins that were proposed.
    pub(crate) mirror_records: Counter,
    pub(crate) mirrors: MirrorGauges,
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
            lease_reads: Counter::default(),
            follower_rounds: Counter::default(),
            proposals_in_flight: Gauge::default(),
            streams: Gauge::default(),
            streams_stuck: Counter::default(),
            sessions: Gauge::default(),
            leases: Gauge::default(),
            lease_recalls: Counter::default(),
            lease_timeouts: Counter::default(),
            sessions_expired: Counter::default(),
            orphans_reaped: Counter::default(),
            leaderships: Counter::default(),
            changelog_streams: Gauge::default(),
            changelog_records: Counter::default(),
            mirror_streams: Counter::default(),
            mirror_trouble: Counter::default(),
            mirror_records: Counter::default(),
            mirrors: MirrorGauges::default(),
            raft: RaftGauges::default(),
            registry: Registry::default(),
        };
        metrics.register_counts(&mut registry);
        metrics.register_reads(&mut registry);
        metrics.register_leases(&mut registry);
        metrics.raft.register(&mut registry);
        metrics.mirrors.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    fn register_reads(&self, registry: &mut Registry) {
        let help = "Rounds that asked a majority whether this node leads, for reads";
        registry.register("read_rounds", help, self.read_rounds.clone());
        let help =
            "Reads of clients, and rounds of followers, answered under this node's lease as leader";
        registry.register("lease_reads", help, self.lease_reads.clone());
        let help = "Questions to the leader how far a read must see";
        registry.register("follower_rounds", help, self.follower_rounds.clone());
    }

    fn register_leases(&self, registry: &mut Registry) {
        let help = "Files that clients may answer from their caches";
        registry.register("leases", help, self.leases.clone());
        let help = "Times a client was asked to forget what was about to change";
        registry.register("lease_recalls", help, self.lease_recalls.clone());
        let help = "Times a client did not answer that, and its leases ended by time";
        registry.register("lease_timeouts", help, self.lease_timeouts.clone());
    }

    fn register_counts(&self, registry: &mut Registry) {
        let counters = [
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
            (
                "changelog_records",
                "Records sent to followers",
                &self.changelog_records,
            ),
            (
                "streams_stuck",
                "Clients that were left because they took no answers",
                &self.streams_stuck,
            ),
            (
                "mirror_streams",
                "Streams from origins that were opened",
                &self.mirror_streams,
            ),
            (
                "mirror_trouble",
                "Times a mirror had no stream from its origin",
                &self.mirror_trouble,
            ),
            (
                "mirror_records",
                "Records of origins that were proposed here",
                &self.mirror_records,
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
                "changelog_streams",
                "Followers of changelogs",
                &self.changelog_streams,
            ),
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

/// A volume's name as a label.
type VolumeLabel = [(&'static str, String); 1];

/// How far the mirrors here are. Set just before each scrape.
#[derive(Default)]
pub(crate) struct MirrorGauges {
    watermark: Family<VolumeLabel, Gauge>,
    following: Family<VolumeLabel, Gauge>,
    origin_seq: Family<VolumeLabel, Gauge>,
    lag_records: Family<VolumeLabel, Gauge>,
    lag_ms: Family<VolumeLabel, Gauge>,
}

/// What a scrape says of one mirror.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirrorNumbers {
    /// The last record applied.
    pub(crate) watermark: u64,
    /// Whether it follows.
    pub(crate) following: bool,
    /// The origin's newest record, as far as this node heard.
    pub(crate) origin_seq: Option<u64>,
    /// How long records may have been missing.
    pub(crate) lag_ms: Option<u64>,
}

impl MirrorGauges {
    fn register(&self, registry: &mut Registry) {
        let families = [
            (
                "mirror_watermark",
                "Last record that the mirror applied",
                &self.watermark,
            ),
            (
                "mirror_following",
                "1 while the mirror applies records as they come",
                &self.following,
            ),
            (
                "mirror_origin_seq",
                "Newest record of the origin, as far as the mirror's leader heard",
                &self.origin_seq,
            ),
            (
                "mirror_lag_records",
                "Records that the mirror has not applied",
                &self.lag_records,
            ),
            (
                "mirror_lag_ms",
                "How long records may have been missing",
                &self.lag_ms,
            ),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
    }

    /// Forgets all mirrors: what is not known is not shown.
    pub(crate) fn clear(&self) {
        let families = [
            &self.watermark,
            &self.following,
            &self.origin_seq,
            &self.lag_records,
            &self.lag_ms,
        ];
        for family in families {
            family.clear();
        }
    }

    /// Sets one mirror's numbers.
    pub(crate) fn set(&self, volume: &str, numbers: MirrorNumbers) {
        let label = [("volume", volume.to_owned())];
        let set = |family: &Family<VolumeLabel, Gauge>, value: u64| {
            family.get_or_create(&label).set(gauge(value));
        };
        set(&self.watermark, numbers.watermark);
        set(&self.following, u64::from(numbers.following));
        if let Some(seq) = numbers.origin_seq {
            set(&self.origin_seq, seq);
            set(&self.lag_records, seq.saturating_sub(numbers.watermark));
        }
        if let Some(lag) = numbers.lag_ms {
            set(&self.lag_ms, lag);
        }
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
