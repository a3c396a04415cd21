//! Questions about the cluster and its volumes as wholes.

use crate::changelog::SealedRecord;
use crate::ids::{ClusterId, Epoch, Level, Seq, SessionId, VolumeId, VolumeUuid};
use crate::key::{self, Key, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{FOLLOWERS_MAX, PAGE_BYTES_MAX, READDIR_ENTRIES_MAX};
use crate::outcome::{Fatal, MirrorState, Refusal, Stop, Token};
use crate::query::{Answer, QueryBody, SessionInfo, VolumeInfo, VolumeStat};
use crate::row::{Blob, EpochOpened, Head, Mirror, Session, Settings, TaskClaim, VolumeRef};
use crate::tables::{Tables, last_id};
use crate::task::{AtWork, Backup, BackupStatus, Task};
use std::ops::ControlFlow;

/// What a volume, and each of its epochs, take in a page, roughly.
const INFO_BYTES: usize = 256;
const EPOCH_BYTES: usize = 32;

pub(super) fn answer<K: KvRead>(tables: Tables<'_, K>, body: &QueryBody) -> Result<Answer, Stop> {
    match body {
        QueryBody::FindVolume { name } => {
            let found: Option<VolumeRef> = tables.row(&key::volume_name(name))?;
            let VolumeRef(id) = found.ok_or(Refusal::UnknownVolume)?;
            if is_loading(tables.of(id))? {
                return Err(Refusal::MirrorLoading.into());
            }
            Ok(Answer::Volume(info(tables.of(id))?))
        }
        QueryBody::Volumes { after, count_max } => {
            let count_max = count_max.clamp(&1, &READDIR_ENTRIES_MAX);
            let mut ids = volume_ids(tables)?;
            ids.retain(|id| id > after);
            let mut infos = Vec::new();
            let mut bytes = 0;
            for id in ids {
                if infos.len() >= *count_max as usize || bytes >= PAGE_BYTES_MAX {
                    break;
                }
                // What is still being loaded has no settings to tell yet.
                if !is_loading(tables.of(id))? {
                    let info = info(tables.of(id))?;
                    bytes += info.storage.len() + info.epochs.len() * EPOCH_BYTES + INFO_BYTES;
                    infos.push(info);
                }
            }
            Ok(Answer::Volumes(infos))
        }
        QueryBody::Sessions { after, count_max } => Ok(sessions(tables, *after, *count_max)?),
        _ => Err(Refusal::InvalidArgument.into()),
    }
}

fn is_loading<K: KvRead>(tables: Tables<'_, K>) -> Result<bool, Fatal> {
    Ok(tables.mirror()?.is_some_and(|mirror| !mirror.is_loaded()))
}

/// The mirrors that an origin was told of.
pub(super) fn followers<K: KvRead>(tables: Tables<'_, K>) -> Result<Answer, Fatal> {
    let prefix = Key::new(tables.volume(), Table::Follower).done();
    let rows: Vec<(Vec<u8>, Blob)> = tables.rows(&prefix, FOLLOWERS_MAX)?;
    let followers = rows.into_iter().map(|(key, info)| {
        let name = key.get(prefix.len()..).unwrap_or_default();
        (String::from_utf8_lossy(name).into_owned(), info.0)
    });
    Ok(Answer::Followers(followers.collect()))
}

/// The last backup, and who makes the next one.
pub(super) fn backup<K: KvRead>(tables: Tables<'_, K>) -> Result<Answer, Fatal> {
    let last: Option<Backup> = tables.row(&key::single(tables.volume(), Table::Backup))?;
    let claim: Option<TaskClaim> = tables.row(&key::claim(tables.volume(), Task::Backup))?;
    let at_work = claim.map(|claim| AtWork {
        session: claim.session,
        since: claim.since,
    });
    Ok(Answer::Backup(BackupStatus { last, at_work }))
}

pub(crate) fn volume_ids<K: KvRead>(tables: Tables<'_, K>) -> Result<Vec<VolumeId>, Fatal> {
    let prefix = Key::new(VolumeId::CLUSTER, Table::VolumeName).done();
    let rows: Vec<(Vec<u8>, VolumeRef)> = tables.rows(&prefix, usize::MAX)?;
    let mut ids: Vec<VolumeId> = rows.into_iter().map(|(_, row)| row.0).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn info<K: KvRead>(tables: Tables<'_, K>) -> Result<VolumeInfo, Fatal> {
    let settings = tables.settings()?;
    let opened = opened(tables)?.into_iter();
    let epochs: Vec<(Epoch, ClusterId)> = opened.map(|(epoch, row)| (epoch, row.cluster)).collect();
    let storage: Option<Blob> = tables.row(&key::single(tables.volume(), Table::Storage))?;
    Ok(VolumeInfo {
        id: tables.volume(),
        name: settings.name,
        uuid: settings.uuid,
        opened_by: epochs
            .last()
            .ok_or(Fatal::Invariant("a volume without an epoch"))?
            .1,
        epochs,
        block_bytes: settings.block_bytes,
        level: settings.level,
        storage: storage.unwrap_or_default().0,
    })
}

/// The key of the record of a seq. What lies before it is not to be looked through: records that were
/// dropped are in the store's way for long.
pub(crate) fn records_begin<K: KvRead>(tables: Tables<'_, K>, from: Seq) -> Result<Vec<u8>, Fatal> {
    // Seqs go on from epoch to epoch: the earlier ones hold lower ones only.
    let opened = opened(tables)?.into_iter().rev();
    let mut opened = opened.filter(|(_, row)| row.last < from);
    let epoch = opened.next().map_or(Epoch(0), |(epoch, _)| epoch);
    Ok(key::record(tables.volume(), epoch, from))
}

/// The volume's epochs, the oldest first.
fn opened<K: KvRead>(tables: Tables<'_, K>) -> Result<Vec<(Epoch, EpochOpened)>, Fatal> {
    let prefix = Key::new(tables.volume(), Table::Epoch).done();
    let rows: Vec<(Vec<u8>, EpochOpened)> = tables.rows(&prefix, usize::MAX)?;
    let epoch = |(key, row): (Vec<u8>, EpochOpened)| {
        let (_, epoch) = key.split_last_chunk::<2>()?;
        Some((Epoch(u16::from_be_bytes(*epoch)), row))
    };
    Ok(rows.into_iter().filter_map(epoch).collect())
}

pub(super) fn stat<K: KvRead>(tables: Tables<'_, K>, head: &Head) -> Result<Answer, Fatal> {
    let counters = tables.counters()?;
    Ok(Answer::Stat(VolumeStat {
        inodes: counters.inodes,
        bytes: counters.bytes,
        pending_delete_bytes: counters.pending_bytes,
        pending_delete_slices: counters.pending_slices,
        orphans: counters.orphans,
        trash: super::trash::stat(tables)?,
        is_limited: super::quota::is_limited(&counters.quota),
        is_counting: super::quota::is_counting(&counters.quota),
        changelog_bytes: head.changelog_bytes,
        changelog_first: head.changelog_first,
        digest: format!("{:032x}", head.digest().0),
        token: head.token,
    }))
}

pub(super) fn sessions<K: KvRead>(
    tables: Tables<'_, K>,
    after: SessionId,
    count_max: u32,
) -> Result<Answer, Fatal> {
    let count_max = count_max.clamp(1, READDIR_ENTRIES_MAX) as usize;
    let begin = key::session(SessionId(after.0.saturating_add(1)));
    let end = key::prefix_end(&Key::new(VolumeId::CLUSTER, Table::Session).done());
    let mut found = Vec::new();
    let mut bytes = 0;
    tables.scan(Family::State, &begin, &end, |key, row| {
        let session = <Session as crate::row::Row>::decode(key, row)?;
        if tables.volume() == VolumeId::CLUSTER || tables.volume() == session.volume {
            bytes += session.info.len();
            found.push(SessionInfo {
                id: SessionId(last_id(key)?),
                volume: session.volume,
                opened: session.opened,
                info: session.info,
            });
        }
        let full = found.len() == count_max || bytes >= PAGE_BYTES_MAX;
        Ok(if full {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(Answer::Sessions(found))
}

/// Where a volume stands on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSummary {
    /// Its number in this cluster.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// Its name for ever.
    pub uuid: VolumeUuid,
    /// Its last change.
    pub token: Token,
    /// The state digest.
    pub digest: u128,
    /// Files without names.
    pub orphans: u64,
    /// Whether slices lie behind truncations.
    pub cuts: bool,
    /// Bytes of retained changelog records.
    pub changelog_bytes: u64,
    /// The oldest retained record.
    pub changelog_first: Seq,
    /// If it follows another cluster.
    pub mirror: Option<MirrorSummary>,
}

/// How far a mirror is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorSummary {
    /// What it does.
    pub state: MirrorState,
    /// The cluster that it follows.
    pub origin: ClusterId,
    /// The snapshot that is being loaded, or was loaded last.
    pub snapshot: Token,
    /// The last key loaded (tag and ids).
    pub cursor: Vec<u8>,
    /// The record that stopped it, if it is stopped.
    pub stopped_at: Seq,
    /// The origin's address and the mirror's name: JSON.
    pub info: Vec<u8>,
}

/// Where a mirror stands, for whoever feeds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorPlace {
    /// The volume's name for ever.
    pub uuid: VolumeUuid,
    /// The last record applied.
    pub token: Token,
    /// The level of its rows, once the row that says it is there.
    pub level: Level,
    /// The rest.
    pub summary: MirrorSummary,
}

/// Where a volume stands as a mirror; `None` if it is none.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn mirror_place<K: KvRead>(view: &K, volume: VolumeId) -> Result<Option<MirrorPlace>, Fatal> {
    let tables = Tables::new(view, volume);
    let (Some(mirror), Some(head)) = (tables.mirror()?, tables.head()?) else {
        return Ok(None);
    };
    let settings: Option<Settings> = tables.row(&key::single(volume, Table::Settings))?;
    Ok(Some(MirrorPlace {
        uuid: mirror.uuid,
        token: head.token,
        level: settings.map_or(Level(1), |settings| settings.level),
        summary: mirror_summary(tables, mirror)?,
    }))
}

fn mirror_summary<K: KvRead>(
    tables: Tables<'_, K>,
    mirror: Mirror,
) -> Result<MirrorSummary, Fatal> {
    let info: Option<Blob> = tables.row(&key::single(tables.volume(), Table::MirrorInfo))?;
    Ok(MirrorSummary {
        state: mirror.state,
        origin: mirror.origin,
        snapshot: mirror.snapshot,
        cursor: mirror.cursor,
        stopped_at: mirror.stopped_at,
        info: info.unwrap_or_default().0,
    })
}

/// The volumes that follow another cluster, by number.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn mirrors<K: KvRead>(view: &K) -> Result<Vec<VolumeId>, Fatal> {
    let cluster = Tables::new(view, VolumeId::CLUSTER);
    let mut found = Vec::new();
    for id in volume_ids(cluster)? {
        let mirror = cluster.of(id).mirror()?;
        if mirror.is_some_and(|mirror| mirror.state != MirrorState::Restoring) {
            found.push(id);
        }
    }
    Ok(found)
}

/// All volumes of a node, by number.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn summary<K: KvRead>(view: &K) -> Result<Vec<VolumeSummary>, Fatal> {
    let cluster = Tables::new(view, VolumeId::CLUSTER);
    let prefix = Key::new(VolumeId::CLUSTER, Table::VolumeName).done();
    let rows: Vec<(Vec<u8>, VolumeRef)> = cluster.rows(&prefix, usize::MAX)?;
    let mut found = Vec::with_capacity(rows.len());
    for (key, VolumeRef(id)) in rows {
        let name = key.get(prefix.len()..).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        found.push(summarise(cluster.of(id), name)?);
    }
    found.sort_unstable_by_key(|summary| summary.id);
    Ok(found)
}

fn summarise<K: KvRead>(tables: Tables<'_, K>, name: String) -> Result<VolumeSummary, Fatal> {
    let head = tables
        .head()?
        .ok_or(Fatal::Invariant("a named volume without a head"))?;
    let mirror = tables.mirror()?;
    let loaded = mirror.as_ref().is_none_or(Mirror::is_loaded);
    let (uuid, orphans) = match &mirror {
        Some(mirror) if !loaded => (mirror.uuid, 0),
        _ => (tables.settings()?.uuid, tables.counters()?.orphans),
    };
    let prefix = Key::new(tables.volume(), Table::Cut).done();
    // A mirror's files are trimmed by its origin.
    let cuts: Vec<(Vec<u8>, crate::row::Cut)> = match mirror {
        None => tables.rows(&prefix, 1)?,
        Some(_) => Vec::new(),
    };
    Ok(VolumeSummary {
        id: tables.volume(),
        name,
        uuid,
        token: head.token,
        digest: head.digest().0,
        orphans,
        cuts: !cuts.is_empty(),
        changelog_bytes: head.changelog_bytes,
        changelog_first: head.changelog_first,
        mirror: mirror
            .map(|mirror| mirror_summary(tables, mirror))
            .transpose()?,
    })
}

/// The cluster's identity, once it has one.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn is_initialised<K: KvRead>(view: &K) -> Result<Option<ClusterId>, Fatal> {
    Ok(Tables::new(view, VolumeId::CLUSTER)
        .cluster()?
        .map(|cluster| cluster.id))
}

/// Retained records of a volume from `from` on, at most `count_max` and a page of bytes.
///
/// # Errors
/// [`Fatal`] if the store or a record is damaged.
pub fn records<K: KvRead>(
    view: &K,
    volume: VolumeId,
    from: Seq,
    count_max: usize,
) -> Result<Vec<(Seq, SealedRecord)>, Fatal> {
    let tables = Tables::new(view, volume);
    let prefix = volume.0.to_be_bytes();
    let begin = records_begin(tables, from)?;
    let mut found = Vec::new();
    let mut bytes = 0;
    tables.scan(
        Family::Changelog,
        &begin,
        &key::prefix_end(&prefix),
        |key, row| {
            let seq = Seq(last_id(key)?);
            if seq < from {
                return Ok(ControlFlow::Continue(()));
            }
            if found.len() == count_max || bytes >= PAGE_BYTES_MAX {
                return Ok(ControlFlow::Break(()));
            }
            bytes += row.len();
            found.push((seq, SealedRecord::from_bytes(row)?));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}
