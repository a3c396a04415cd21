//! The worker of one mount.

use super::DumpSource;
use super::backup::Backups;
use super::compact::Compactions;
use crate::vfs::{MetaApi, Stats};
use chunk_store::{ObjectStore, SliceStore};
use meta_core::ids::VolumeUuid;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a worker works with.
#[derive(Debug)]
pub struct WorkerParts {
    /// The mount's session.
    pub meta: Arc<dyn MetaApi>,
    /// The volume's bucket.
    pub store: Arc<dyn ObjectStore>,
    /// The volume's blocks, within [`super::COMPACTION_LIMITS`] of their own.
    pub slices: SliceStore,
    /// Where dumps come from.
    pub source: Arc<dyn DumpSource>,
    /// The volume.
    pub volume: VolumeUuid,
    /// The mount's counters.
    pub stats: Arc<Stats>,
    /// How long after a backup the next one is due; at least a millisecond counts. `None`: it makes none.
    pub backup_interval: Option<Duration>,
    /// How often it is looked whether there are chunks to compact: [`super::COMPACT_INTERVAL`].
    pub compact_interval: Duration,
}

/// A worker at work. Dropped, it stops; what it was given ends with the mount's session.
#[derive(Debug)]
pub struct Worker {
    _stops_when_dropped: DropGuard,
}

impl Worker {
    /// Starts to offer the mount for tasks, until `ended` is cancelled. Must be called on a tokio
    /// runtime.
    pub fn start(parts: WorkerParts, ended: &CancellationToken) -> Self {
        let stop = ended.child_token();
        let mut compactions = Compactions::new(
            Arc::clone(&parts.meta),
            parts.slices,
            Arc::clone(&parts.stats),
            parts.compact_interval,
        );
        // Each in a task of its own: a backup waits for no chunk, and no chunk for a backup.
        if let Some(interval) = parts.backup_interval {
            let (store, source) = (parts.store, parts.source);
            let (volume, stats) = (parts.volume, parts.stats);
            let backups = Backups::new(parts.meta, store, source, volume, stats, interval);
            let stopped = stop.clone();
            tokio::spawn(async move { while goes_on(&stopped, backups.round()).await {} });
        }
        let stopped = stop.clone();
        tokio::spawn(async move { while goes_on(&stopped, compactions.round()).await {} });
        Self {
            _stops_when_dropped: stop.drop_guard(),
        }
    }
}

/// Does one round, and waits as long as it says. Tells whether there is to be another one.
async fn goes_on(stop: &CancellationToken, round: impl Future<Output = Duration>) -> bool {
    let round = async {
        let pause = round.await;
        tokio::time::sleep(pause).await;
    };
    tokio::select! {
        () = stop.cancelled() => false,
        () = round => true,
    }
}
