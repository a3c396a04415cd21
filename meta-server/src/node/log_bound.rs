//! The log's bound in bytes.
//!
//! openraft bounds the log in entries, and entries differ in size a thousandfold. So each node
//! also writes a snapshot and drops the log behind it when the log is large, or when its disk is
//! short: else the space that deletions are to give back would lie in the log.

use super::Core;
use openraft::LogIdOptionExt as _;
use openraft::async_runtime::WatchReceiver as _;
use raft_store::StoreStats;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the log is looked at.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of log behind which a snapshot is due.
const LOG_BYTES_MAX: u64 = 2 << 30;
/// Fewer bytes are not worth a snapshot, however short the disk is.
const LOG_BYTES_MIN: u64 = 16 << 20;
/// Between two snapshots for this reason: each costs a flush and a pass over the files.
const PAUSE: Duration = Duration::from_secs(60);

/// When the log was cut last.
#[derive(Debug, Default)]
pub(super) struct LogBound {
    cut: Option<Instant>,
    /// The log is to be dropped up to a snapshot that is being written.
    pending: Option<u64>,
}

impl LogBound {
    /// Cuts the log if it is due.
    pub(super) async fn look(&mut self, core: &Arc<Core>) {
        let reading = {
            let reader = core.reader.clone();
            raft_store::offload(move || reader.stats())
        };
        let stats = match reading.await {
            Ok(Ok(stats)) => stats,
            Ok(Err(error)) => return tracing::warn!(%error, "the log's size cannot be read"),
            Err(error) => return tracing::warn!(%error, "the log's size cannot be read"),
        };
        if let Some(applied) = self.pending {
            return self.purge(core, applied).await;
        }
        let rested = self.cut.is_none_or(|cut| cut.elapsed() >= PAUSE);
        if !rested || !is_due(&stats, core.space.below_reserve()) {
            return;
        }
        self.cut = Some(Instant::now());
        tracing::info!(
            bytes = stats.log_bytes,
            "a snapshot is written to shorten the log"
        );
        match core.raft.trigger().snapshot().await {
            Ok(()) => self.pending = stats.applied.index(),
            Err(error) => tracing::warn!(%error, "no snapshot can be written"),
        }
    }

    /// Drops the log behind the snapshot, once that is there.
    async fn purge(&mut self, core: &Arc<Core>, applied: u64) {
        let snapshot = core.raft.metrics().borrow_watched().snapshot.index();
        if snapshot < Some(applied) {
            // Building failed or takes long: the next look asks again in time.
            let waited = self.cut.is_some_and(|cut| cut.elapsed() >= PAUSE);
            self.pending = self.pending.filter(|_| !waited);
            return;
        }
        self.pending = None;
        if let Err(error) = core.raft.trigger().purge_log(applied).await {
            tracing::warn!(%error, "the log cannot be purged");
        }
    }
}

fn is_due(stats: &StoreStats, short: bool) -> bool {
    stats.log_bytes > LOG_BYTES_MAX || (short && stats.log_bytes > LOG_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_cut_and_a_smaller_one_when_the_disk_is_short() {
        let log = |log_bytes| StoreStats {
            log_bytes,
            ..StoreStats::default()
        };
        assert!(!is_due(&log(LOG_BYTES_MAX), false));
        assert!(is_due(&log(LOG_BYTES_MAX + 1), false));
        assert!(is_due(&log(LOG_BYTES_MIN + 1), true));
        assert!(!is_due(&log(LOG_BYTES_MIN), true));
    }
}
