//! A volume's replicated rows as they are: pages of a snapshot, and hashes of ranges.

use crate::attr::Timestamp;
use crate::digest::{Digest, row_hash};
use crate::ids::{ClusterId, VolumeId, VolumeUuid};
use crate::key::{self, FIRST_LOCAL_TAG};
use crate::kv::{Family, KvRead, Visit};
use crate::outcome::{Fatal, Token};
use crate::tables::Tables;
use std::ops::ControlFlow;

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    /// The cluster.
    pub cluster: ClusterId,
    /// The volume.
    pub uuid: VolumeUuid,
    /// The volume's state.
    pub token: Token,
    /// CRC of its last record.
    pub record_crc: u32,
    /// The stamp of its last change.
    pub stamp: Timestamp,
    /// The digest of its rows.
    pub digest: u128,
}

/// The state of a volume in a view.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn snapshot_head<K: KvRead>(view: &K, volume: VolumeId) -> Result<Option<SnapshotHead>, Fatal> {
    let tables = Tables::new(view, volume);
    let (Some(cluster), Some(head)) = (tables.cluster()?, tables.head()?) else {
        return Ok(None);
    };
    Ok(Some(SnapshotHead {
        cluster: cluster.id,
        uuid: tables.settings()?.uuid,
        token: head.token,
        record_crc: head.record_crc,
        stamp: head.stamp,
        digest: head.digest().0,
    }))
}

/// Rows of a snapshot, with the range of keys (tag and ids) that they are all of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotPage {
    /// The last key of the range; [`FIRST_LOCAL_TAG`] alone at the end.
    pub through: Vec<u8>,
    /// Keys and rows, by rising key.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether no rows follow.
    pub end: bool,
}

/// The replicated rows with keys after `after`: about `bytes_max` bytes, at most `rows_max`.
///
/// # Errors
/// [`Fatal`] if the store cannot be read.
pub fn snapshot_page<K: KvRead>(
    view: &K,
    volume: VolumeId,
    after: &[u8],
    rows_max: usize,
    bytes_max: usize,
) -> Result<SnapshotPage, Fatal> {
    let mut page = SnapshotPage::default();
    let mut bytes = 0;
    let through = [FIRST_LOCAL_TAG];
    let ended = scan(view, volume, after, &through, &mut |key, row| {
        if page.rows.len() == rows_max || bytes >= bytes_max {
            return ControlFlow::Break(());
        }
        bytes += key.len() + row.len();
        page.rows.push((key.to_vec(), row.to_vec()));
        ControlFlow::Continue(())
    })?;
    page.end = ended;
    page.through = match page.rows.last() {
        Some((key, _)) if !ended => key.clone(),
        _ => through.to_vec(),
    };
    Ok(page)
}

/// The hash of a range of rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowsHash {
    /// The last key of the range.
    pub through: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
    /// The wrapping sum of their hashes, as in the digest.
    pub hash: u128,
    /// Whether no rows follow.
    pub end: bool,
}

/// Hashes the rows with keys after `after` and up to `through`, at most `rows_max` of them.
///
/// # Errors
/// [`Fatal`] if the store cannot be read.
pub fn rows_hash<K: KvRead>(
    view: &K,
    volume: VolumeId,
    after: &[u8],
    through: &[u8],
    rows_max: u64,
) -> Result<RowsHash, Fatal> {
    let mut digest = Digest::default();
    let mut found = RowsHash::default();
    let ended = scan(view, volume, after, through, &mut |key, row| {
        if found.rows == rows_max {
            return ControlFlow::Break(());
        }
        if let Some((table, ids)) = key.split_first() {
            digest.add(row_hash(*table, ids, row));
        }
        found.rows += 1;
        key.clone_into(&mut found.through);
        ControlFlow::Continue(())
    })?;
    found.hash = digest.0;
    found.end = ended;
    if ended {
        through.clone_into(&mut found.through);
    }
    Ok(found)
}

/// Visits replicated rows with keys after `after` and up to `through`; whether all were visited.
fn scan<K: KvRead>(
    view: &K,
    volume: VolumeId,
    after: &[u8],
    through: &[u8],
    visit: &mut Visit<'_>,
) -> Result<bool, Fatal> {
    let mut begin = key::in_volume(volume, after);
    if !after.is_empty() {
        // The first key behind it.
        begin.push(0);
    }
    let mut end = key::in_volume(volume, through);
    end.push(0);
    let end = end.min(key::in_volume(volume, &[FIRST_LOCAL_TAG]));
    let mut ended = true;
    view.scan(Family::State, &begin, &end, &mut |key, row| {
        let flow = visit(key.get(4..).unwrap_or_default(), row);
        ended = flow.is_continue();
        flow
    })?;
    Ok(ended)
}
