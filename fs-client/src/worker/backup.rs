//! The backup of the volume's metadata: a dump of one moment, spooled to a file without a name, goes
//! to the bucket as one object; then what retention does not keep goes.

use super::offer::Offer;
use super::pace::Pace;
use super::{BackupError, DumpSource, expired};
use crate::vfs::{MetaApi, Stats};
use chunk_store::{BackupName, ObjectStore, list_backups};
use meta_core::attr::Timestamp;
use meta_core::ids::VolumeUuid;
use meta_core::task::{Claim, NewBackup, Task};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Old backups that go with each new one. Each hour brings one and takes about one: more would only
/// serve a clock that is wrong.
const PRUNE_MAX: usize = 8;

/// The task, as one mount does it.
#[derive(Debug)]
pub(super) struct Backups {
    offer: Offer,
    pace: Pace,
    store: Arc<dyn ObjectStore>,
    source: Arc<dyn DumpSource>,
    volume: VolumeUuid,
    stats: Arc<Stats>,
}

impl Backups {
    pub(super) fn new(
        meta: Arc<dyn MetaApi>,
        store: Arc<dyn ObjectStore>,
        source: Arc<dyn DumpSource>,
        volume: VolumeUuid,
        stats: Arc<Stats>,
        interval: Duration,
    ) -> Self {
        Self {
            offer: Offer::new(meta, Task::Backup, interval),
            pace: Pace(interval),
            store,
            source,
            volume,
            stats,
        }
    }

    /// Offers the mount once, and makes a backup if that is what the engine says. Tells how long to
    /// wait before the next offer.
    pub(super) async fn round(&self) -> Duration {
        let (at, lease_ms) = match self.offer.claim().await {
            Ok(Claim::Given { at, lease_ms }) => (at, lease_ms),
            Ok(Claim::NotDue { retry_ms }) => {
                return self.pace.not_due(Duration::from_millis(retry_ms));
            }
            Ok(Claim::Held { .. }) => return self.pace.held(),
            Err(error) => {
                tracing::warn!(%error, "the mount cannot offer itself for backups");
                return self.pace.failed();
            }
        };
        let made = self
            .make_and_tell(at, Duration::from_millis(lease_ms))
            .await;
        self.stats.count_backup(made.is_ok());
        match made {
            Ok(made) => {
                let (token, bytes, name) = (made.token, made.bytes, made.name);
                tracing::info!(
                    name,
                    epoch = token.epoch.0,
                    seq = token.seq.0,
                    bytes,
                    "the volume's metadata is backed up"
                );
                self.pace.not_due(self.pace.0)
            }
            Err(error) => {
                tracing::warn!(%error, "the volume's metadata is not backed up; it is tried again");
                self.give_back().await;
                self.pace.failed()
            }
        }
    }

    async fn give_back(&self) {
        if let Err(error) = self.offer.release().await {
            // It lapses.
            tracing::debug!(%error, "the backup was not given back");
        }
    }

    async fn make_and_tell(
        &self,
        at: Timestamp,
        lease: Duration,
    ) -> Result<NewBackup, BackupError> {
        let made = self.offer.hold(lease, self.make(at)).await?;
        self.offer.finish(made.clone()).await?;
        Ok(made)
    }

    /// Puts a backup into the bucket.
    async fn make(&self, at: Timestamp) -> Result<NewBackup, BackupError> {
        let file = Arc::new(spool().await?);
        let token = self.source.dump(Arc::clone(&file)).await?;
        let name = BackupName::new(at, token).ok_or(BackupError::Clock)?;
        let key = name.key(self.volume);
        let bytes = length(&file).await?;
        self.store.put_file(&key, file).await?;
        // A store that lost its end would be found out too late otherwise.
        let stored = self.store.head(&key).await?;
        if stored != Some(bytes) {
            return Err(BackupError::Differs { key, stored, bytes });
        }
        self.prune(name).await;
        Ok(NewBackup {
            token,
            bytes,
            name: name.to_string(),
        })
    }

    /// Removes what retention does not keep. That it cannot is no reason to have no backup.
    async fn prune(&self, written: BackupName) {
        let stored = match list_backups(&self.store, self.volume).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "old backups stay: they cannot be listed");
                return;
            }
        };
        let names: Vec<BackupName> = stored.iter().map(|backup| backup.name).collect();
        let gone = expired(&names, written.taken(), written);
        for name in gone.into_iter().take(PRUNE_MAX) {
            if let Err(error) = self.store.delete(&name.key(self.volume)).await {
                tracing::warn!(%error, "an old backup stays");
                return;
            }
            tracing::debug!(%name, "an old backup is removed");
        }
    }
}

/// A file without a name, which goes with the process whatever becomes of it.
async fn spool() -> Result<File, BackupError> {
    let dir = std::env::temp_dir();
    let made = tokio::task::spawn_blocking(tempfile::tempfile).await;
    let made = made.unwrap_or_else(|error| Err(io::Error::other(error)));
    made.map_err(|error| BackupError::Spool { dir, error })
}

async fn length(file: &Arc<File>) -> Result<u64, BackupError> {
    let file = Arc::clone(file);
    let asked = tokio::task::spawn_blocking(move || file.metadata()).await;
    let asked = asked.unwrap_or_else(|error| Err(io::Error::other(error)));
    match asked {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) => Err(meta_client::DumpError::File(error).into()),
    }
}
