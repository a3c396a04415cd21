//! Questions about the cluster and its volumes as wholes.

use crate::changelog::SealedRecord;
use crate::ids::{ClusterId, Epoch, Seq, SessionId, VolumeId, VolumeUuid};
use crate::key::{self, Key, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{PAGE_BYTES_MAX, READDIR_ENTRIES_MAX};
use crate::outcome::{Fatal, Refusal, Stop, Token};
use crate::query::{Answer, QueryBody, SessionInfo, VolumeInfo, VolumeStat};
use crate::row::{Blob, EpochOpened, Head, Session, VolumeRef};
use crate::tables::{Tables, last_id};
use std::ops::ControlFlow;

/// What a volume, and each of its epochs, take in a page, roughly.
const INFO_BYTES: usize = 256;
const EPOCH_BYTES: usize = 32;

pub(super) fn answer<K: KvRead>(tables: Tables<'_, K>, body: &QueryBody) -> Result<Answer, Stop> {
    match body {
        QueryBody::FindVolume { name } => {
            let found: Option<VolumeRef> = tables.row(&key::volume_name(name))?;
            let VolumeRef(id) = found.ok_or(Refusal::UnknownVolume)?;
            Ok(Answer::Volume(info(tables.of(id))?))
        }
        QueryBody::Volumes { after, count_max } => {
            let count_max = count_max.clamp(&1, &READDIR_ENTRIES_MAX);
            let mut ids = volume_ids(tables)?;
            ids.retain(|id| id > after);
            ids.truncate(*count_max as usize);
            let mut infos = Vec::new();
            let mut bytes = 0;
            for id in ids {
                let info = info(tables.of(id))?;
                bytes += info.storage.len() + info.epochs.len() * EPOCH_BYTES + INFO_BYTES;
                infos.push(info);
                if bytes >= PAGE_BYTES_MAX {
                    break;
                }
            }
            Ok(Answer::Volumes(infos))
        }
        QueryBody::Sessions { after, count_max } => Ok(sessions(tables, *after, *count_max)?),
        _ => Err(Refusal::InvalidArgument.into()),
    }
}

fn volume_ids<K: KvRead>(tables: Tables<'_, K>) -> Result<Vec<VolumeId>, Fatal> {
    let prefix = Key::new(VolumeId::CLUSTER, Table::VolumeName).done();
    let rows: Vec<(Vec<u8>, VolumeRef)> = tables.rows(&prefix, usize::MAX)?;
    let mut ids: Vec<VolumeId> = rows.into_iter().map(|(_, row)| row.0).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn info<K: KvRead>(tables: Tables<'_, K>) -> Result<VolumeInfo, Fatal> {
    let settings = tables.settings()?;
    let prefix = Key::new(tables.volume(), Table::Epoch).done();
    let rows: Vec<(Vec<u8>, EpochOpened)> = tables.rows(&prefix, usize::MAX)?;
    let epochs: Vec<(Epoch, ClusterId)> = rows
        .iter()
        .filter_map(|(key, row)| {
            let (_, epoch) = key.split_last_chunk::<2>()?;
            Some((Epoch(u16::from_be_bytes(*epoch)), row.cluster))
        })
        .collect();
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

pub(super) fn stat<K: KvRead>(tables: Tables<'_, K>, head: &Head) -> Result<Answer, Fatal> {
    let counters = tables.counters()?;
    Ok(Answer::Stat(VolumeStat {
        inodes: counters.inodes,
        bytes: counters.bytes,
        pending_delete_bytes: counters.pending_bytes,
        pending_delete_slices: counters.pending_slices,
        orphans: counters.orphans,
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
}

/// All volumes of a node, by number.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn summary<K: KvRead>(view: &K) -> Result<Vec<VolumeSummary>, Fatal> {
    let cluster = Tables::new(view, VolumeId::CLUSTER);
    let ids = volume_ids(cluster)?;
    ids.into_iter()
        .map(|id| summarise(cluster.of(id)))
        .collect()
}

fn summarise<K: KvRead>(tables: Tables<'_, K>) -> Result<VolumeSummary, Fatal> {
    let settings = tables.settings()?;
    let head = tables
        .head()?
        .ok_or(Fatal::Invariant("a named volume without a head"))?;
    let prefix = Key::new(tables.volume(), Table::Cut).done();
    let cuts: Vec<(Vec<u8>, crate::row::Cut)> = tables.rows(&prefix, 1)?;
    Ok(VolumeSummary {
        id: tables.volume(),
        name: settings.name,
        uuid: settings.uuid,
        token: head.token,
        digest: head.digest().0,
        orphans: tables.counters()?.orphans,
        cuts: !cuts.is_empty(),
        changelog_bytes: head.changelog_bytes,
        changelog_first: head.changelog_first,
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
    let Some(head) = tables.head()? else {
        return Ok(Vec::new());
    };
    let begin = key::record(volume, Epoch(0), from);
    // Seqs go on from epoch to epoch, so the first epochs may hold lower ones only.
    let begin = if head.token.epoch == Epoch(0) {
        begin
    } else {
        prefix.to_vec()
    };
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
