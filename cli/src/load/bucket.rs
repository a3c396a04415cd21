//! Which backups a bucket has, and which one is meant.

use super::args::Which;
use crate::exit::Usage;
use anyhow::{Context, Result, bail};
use chunk_store::{BackupName, ObjectStore, StorageConfig, StoredBackup};
use chunk_store::{list_backups, list_volumes, open_store};
use meta_client::Dump;
use meta_core::ids::VolumeUuid;
use std::sync::Arc;

/// What is read of a dump to see what it is of: more than its first frames have.
const HEAD_BYTES: u64 = 128 << 10;
/// Backups of a volume that are looked into for its name.
const HEADS_MAX: usize = 3;

/// The backups of a volume, the newest last.
#[derive(Debug)]
pub(super) struct VolumeBackups {
    pub(super) uuid: VolumeUuid,
    /// The volume's name, as the newest backup that can be read has it.
    pub(super) name: Option<String>,
    pub(super) backups: Vec<StoredBackup>,
}

/// A bucket with what it has.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) volumes: Vec<VolumeBackups>,
}

/// The backup that is meant, and the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) uuid: VolumeUuid,
    pub(super) backup: BackupName,
    pub(super) bytes: u64,
    /// The next older one.
    pub(super) older: Option<BackupName>,
}

impl Bucket {
    /// Looks for the backups of one volume, or of all.
    pub(super) async fn look(storage: &StorageConfig, only: Option<VolumeUuid>) -> Result<Self> {
        let json = storage.to_json().context("the bucket does not fit JSON")?;
        let store = open_store(&json).context("cannot open the bucket")?;
        let uuids = match only {
            Some(uuid) => vec![uuid],
            None => list_volumes(&store)
                .await
                .context("cannot list the bucket")?,
        };
        let mut volumes = Vec::new();
        for uuid in uuids {
            let backups = list_backups(&store, uuid).await;
            let backups = backups.context("cannot list the backups")?;
            if !backups.is_empty() {
                let name = volume_name(&store, uuid, &backups).await;
                volumes.push(VolumeBackups {
                    uuid,
                    name,
                    backups,
                });
            }
        }
        Ok(Self { store, volumes })
    }

    /// The backup that is meant: of the only volume, or of the one that has the name.
    pub(super) fn choose(&self, which: Which, name: &str) -> Result<Chosen> {
        if self.volumes.is_empty() {
            bail!("the bucket has no backups: is it the right one, and the right prefix?");
        }
        let has = |volume: &&VolumeBackups| which.find(&volume.backups).is_some();
        let having: Vec<&VolumeBackups> = self.volumes.iter().filter(has).collect();
        let named = having.iter().filter(|v| v.name.as_deref() == Some(name));
        let volume = match (having.as_slice(), named.collect::<Vec<_>>().as_slice()) {
            ([], _) => bail!("the bucket has no such backup: `--list` shows what it has"),
            ([only], _) => only,
            (_, [named]) => named,
            (several, _) => return Err(Usage::error(which_volume(several))),
        };
        if which == Which::Latest {
            check_history(&volume.backups)?;
        }
        let at = which.find(&volume.backups);
        let at = at.context("the bucket has no such backup")?;
        let backup = volume.backups.get(at).context("there is none")?;
        let older = at.checked_sub(1).and_then(|at| volume.backups.get(at));
        Ok(Chosen {
            uuid: volume.uuid,
            backup: backup.name,
            bytes: backup.bytes,
            older: older.map(|older| older.name),
        })
    }
}

impl Which {
    fn find(self, backups: &[StoredBackup]) -> Option<usize> {
        match self {
            Self::Latest => backups.len().checked_sub(1),
            Self::Named(name) => backups.iter().position(|backup| backup.name == name),
        }
    }
}

/// The backup that is furthest in the volume's history must also be the one that was made last. If not,
/// an older one was loaded once and used, and which of the two histories is meant only its owner
/// knows.
fn check_history(backups: &[StoredBackup]) -> Result<()> {
    let furthest = backups.last().map(|backup| backup.name);
    let last = backups.iter().map(|backup| backup.name);
    let last = last.max_by_key(BackupName::taken);
    let (Some(furthest), Some(last)) = (furthest, last) else {
        return Ok(());
    };
    if last.taken() > furthest.taken() {
        bail!(
            "the bucket has backups of two histories of the volume, so that the latest is not clear: \
             {last} was made last, and {furthest} is further in another history. Say which is meant \
             with `--backup NAME`; `--list` shows all"
        );
    }
    Ok(())
}

fn which_volume(several: &[&VolumeBackups]) -> String {
    let mut text = "the bucket has backups of several volumes: say which with --uuid".to_owned();
    for volume in several {
        let name = volume.name.as_deref().unwrap_or("its name is not known");
        text.push_str(&format!("\n  {} ({name})", volume.uuid));
    }
    text
}

/// The name that a volume had. For people alone: what cannot be read is refused when it is loaded.
async fn volume_name(
    store: &dyn ObjectStore,
    uuid: VolumeUuid,
    backups: &[StoredBackup],
) -> Option<String> {
    for backup in backups.iter().rev().take(HEADS_MAX) {
        let range = 0..backup.bytes.min(HEAD_BYTES);
        let Ok(head) = store.get(&backup.name.key(uuid), range).await else {
            continue;
        };
        if let Ok(dump) = Dump::open(&head[..]) {
            return Some(dump.info().volume.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk_store::Memory;
    use meta_core::attr::Timestamp;
    use meta_core::ids::{Epoch, Seq, Uuid};
    use meta_core::outcome::Token;

    fn stored(seq: u64) -> StoredBackup {
        stored_at(1000, seq)
    }

    fn stored_at(seconds: i64, seq: u64) -> StoredBackup {
        let token = Token {
            epoch: Epoch(0),
            seq: Seq(seq),
        };
        let taken = Timestamp { seconds, nanos: 0 };
        let name = BackupName::new(taken, token).expect("a name");
        StoredBackup { name, bytes: seq }
    }

    #[test]
    fn of_two_histories_none_is_the_latest() {
        let mut both = bucket(&[(1, Some("a"), &[])]);
        both.volumes[0].backups = vec![stored_at(3000, 7), stored_at(2000, 9)];
        let why = both.choose(Which::Latest, "a").expect_err("not clear");
        let (late, far) = (stored_at(3000, 7).name, stored_at(2000, 9).name);
        for name in [late, far] {
            assert!(why.to_string().contains(&name.to_string()), "{why}");
            let chosen = both.choose(Which::Named(name), "a").expect("named");
            assert_eq!(chosen.backup, name);
        }
        both.volumes[0].backups = vec![stored_at(2000, 7), stored_at(3000, 9)];
        let latest = both.choose(Which::Latest, "a").expect("one history");
        assert_eq!(latest.backup, stored_at(3000, 9).name);
    }

    fn bucket(volumes: &[(u8, Option<&str>, &[u64])]) -> Bucket {
        let volumes = volumes.iter().map(|(uuid, name, seqs)| VolumeBackups {
            uuid: Uuid([*uuid; 16]),
            name: name.map(str::to_owned),
            backups: seqs.iter().map(|seq| stored(*seq)).collect(),
        });
        Bucket {
            store: Arc::new(Memory::default()),
            volumes: volumes.collect(),
        }
    }

    #[test]
    fn the_newest_backup_is_chosen_with_the_one_before_it() {
        let one = bucket(&[(1, Some("a"), &[5, 7, 9])]);
        let newest = one.choose(Which::Latest, "other").expect("the only volume");
        assert_eq!(newest.backup, stored(9).name);
        assert_eq!((newest.bytes, newest.older), (9, Some(stored(7).name)));
        let oldest = one
            .choose(Which::Named(stored(5).name), "a")
            .expect("it is there");
        assert_eq!(oldest.older, None);
        let error = one.choose(Which::Named(stored(6).name), "a");
        let error = error.expect_err("it is not there").to_string();
        assert!(error.contains("--list"), "{error}");
        let empty = bucket(&[]).choose(Which::Latest, "a").expect_err("none");
        assert!(empty.to_string().contains("no backups"), "{empty}");
    }

    #[test]
    fn of_several_volumes_the_one_of_the_name_is_meant_and_else_it_is_asked_for() {
        let two = bucket(&[(1, Some("a"), &[5]), (2, Some("b"), &[6]), (3, None, &[7])]);
        let chosen = two.choose(Which::Latest, "b").expect("its name");
        assert_eq!(chosen.uuid, Uuid([2; 16]));
        let error = two.choose(Which::Latest, "c").expect_err("none is meant");
        assert!(error.is::<Usage>(), "{error}");
        let uuid = Uuid([3; 16]).to_string();
        let text = error.to_string();
        assert!(text.contains("--uuid") && text.contains(&uuid), "{text}");
        // A backup that only one of them has says it all.
        let named = two
            .choose(Which::Named(stored(7).name), "a")
            .expect("named");
        assert_eq!(named.uuid, Uuid([3; 16]));
    }
}
