//! The worker of one mount.

use super::DumpSource;
use super::backup::Backups;
use crate::vfs::{MetaApi, Stats};
use chunk_store::ObjectStore;
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
    /// Where dumps come from.
    pub source: Arc<dyn DumpSource>,
    /// The volume.
    pub volume: VolumeUuid,
    /// The mount's counters.
    pub stats: Arc<Stats>,
    /// How long after a backup the next one is due; at least a millisecond counts.
    pub backup_interval: Duration,
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
        let backups = Backups::new(
            parts.meta,
            parts.store,
            parts.source,
            parts.volume,
            parts.stats,
            parts.backup_interval,
        );
        tokio::spawn(run(backups, stop.clone()));
        Self {
            _stops_when_dropped: stop.drop_guard(),
        }
    }
}

async fn run(backups: Backups, stop: CancellationToken) {
    loop {
        let round = async {
            let pause = backups.round().await;
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}
