//! The backup of the volume's metadata: a dump of one moment, spooled to a file without a name, goes
//! to the bucket as one object; then what retention does not keep goes.

use super::offer::Offer;
use super::pace::{ClockDoubt, ClockWatch, Pace};
use super::{BackupError, DumpSource, expired};
use crate::vfs::{MetaApi, Stats};
use chunk_store::{BackupName, ObjectStore, list_backups};
use meta_core::attr::Timestamp;
use meta_core::failpoint::{self, Point};
use meta_core::ids::VolumeUuid;
use meta_core::task::{Claim, NewBackup, Task};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Old backups that go with each new one. Each hour brings one and takes about one: more would only
/// serve a clock that is wrong.
const PRUNE_MAX: usize = 8;
/// Of those that cannot be removed, as under a legal hold, so many are passed by with each new one.
const PRUNE_TRIES_MAX: usize = PRUNE_MAX * 2;

/// The task, as one mount does it.
#[derive(Debug)]
pub(super) struct Backups {
    offer: Offer,
    pace: Pace,
    clock: Mutex<ClockWatch>,
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
            clock: Mutex::default(),
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
                let wait = Duration::from_millis(retry_ms);
                self.watch_clock(wait);
                return self.pace.not_due(wait);
            }
            Ok(Claim::Held { .. }) => return self.pace.held(),
            Err(error) => {
                tracing::warn!(%error, "the mount cannot offer itself for backups");
                return self.pace.failed();
            }
        };
        // It was due: the cluster's clock goes on.
        *self.clock.lock() = ClockWatch::default();
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

    /// Says that backups stop while the cluster's clock is wrong: nothing else would.
    fn watch_clock(&self, wait: Duration) {
        match self.clock.lock().not_due(self.pace, wait) {
            Some(ClockDoubt::Ahead(by)) => tracing::warn!(
                "the last backup is dated {} s ahead of the cluster's clock: no backup is made \
                 until then; check the clocks of the metadata nodes",
                by.as_secs()
            ),
            Some(ClockDoubt::Still) => tracing::warn!(
                "the volume's time stands still, as it does when the cluster's clock was ahead: no \
                 backup is made until the clock has caught up; check the clocks of the metadata \
                 nodes"
            ),
            None => {}
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
        let made = self.offer.hold(lease, self.make(at)).await??;
        failpoint::pass(Point::BackupPruned);
        self.offer.finish(made.clone()).await?;
        failpoint::pass(Point::BackupTold);
        Ok(made)
    }

    /// Puts a backup into the bucket.
    async fn make(&self, at: Timestamp) -> Result<NewBackup, BackupError> {
        let file = Arc::new(spool().await?);
        let token = self.source.dump(Arc::clone(&file)).await?;
        failpoint::pass(Point::BackupDumped);
        let name = BackupName::new(at, token).ok_or(BackupError::Clock)?;
        let key = name.key(self.volume);
        let bytes = length(&file).await?;
        self.store.put_file(&key, file).await?;
        // A store that lost its end would be found out too late otherwise.
        let stored = self.store.head(&key).await?;
        if stored != Some(bytes) {
            return Err(BackupError::Differs { key, stored, bytes });
        }
        failpoint::pass(Point::BackupStored);
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
        remove(&self.store, self.volume, &gone).await;
    }
}

/// Removes backups, the first ones of `gone`. One that cannot be removed keeps no other one.
async fn remove(store: &dyn ObjectStore, volume: VolumeUuid, gone: &[BackupName]) {
    let mut left = PRUNE_MAX;
    for name in gone.iter().take(PRUNE_TRIES_MAX) {
        if left == 0 {
            return;
        }
        match store.delete(&name.key(volume)).await {
            Ok(()) => {
                left -= 1;
                tracing::debug!(%name, "an old backup is removed");
            }
            Err(error) => tracing::warn!(%error, "an old backup stays"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use chunk_store::{Failing, Fault, Memory, Step};
    use meta_core::ids::{Epoch, Seq, Uuid};
    use meta_core::outcome::Token;

    const VOLUME: VolumeUuid = Uuid([7; 16]);

    /// A store with so many backups, and their names.
    async fn filled(count: u64) -> (Failing<Memory>, Vec<BackupName>) {
        let store = Failing::new(Memory::default());
        let mut names = Vec::new();
        for seq in 1..=count {
            let token = Token {
                epoch: Epoch(0),
                seq: Seq(seq),
            };
            let name = BackupName::new(Timestamp::default(), token).expect("a name");
            let put = store.put(&name.key(VOLUME), "x".into()).await;
            put.expect("stored");
            names.push(name);
        }
        (store, names)
    }

    async fn left(store: &Failing<Memory>) -> Vec<BackupName> {
        let listed = list_backups(store, VOLUME).await.expect("listed");
        listed.into_iter().map(|backup| backup.name).collect()
    }

    #[tokio::test]
    async fn a_backup_that_cannot_be_removed_keeps_no_other_one() {
        let (store, names) = filled(20).await;
        store.script(Step::Delete, [Fault::Fail, Fault::Fail, Fault::Fail]);
        remove(&store, VOLUME, &names).await;
        let expected: Vec<_> = names[..3].iter().chain(&names[11..]).copied().collect();
        assert_eq!(left(&store).await, expected);
        assert_eq!(store.count(Step::Delete), 11);
    }

    #[tokio::test]
    async fn removing_old_backups_is_bounded_whether_it_works_or_not() {
        let (store, names) = filled(20).await;
        remove(&store, VOLUME, &names).await;
        assert_eq!(left(&store).await, names[PRUNE_MAX..]);
        let (store, names) = filled(20).await;
        store.always(Step::Delete, Fault::Fail);
        remove(&store, VOLUME, &names).await;
        assert_eq!(left(&store).await, names);
        assert_eq!(store.count(Step::Delete), 16);
    }
}
