//! Work that the leader proposes by itself, in bounded steps: what nobody can reach any more
//! goes, and its slices wait for the deletion of their blocks.

use super::{Done, setattr, shared};
use crate::attr::FileKind;
use crate::ids::{ChunkIndex, Ino, Seq, SliceId, SliceOrder};
use crate::key::{self, Ids, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{CHUNK_BYTES, COMPACT_LOOK_EVERY, MAINTENANCE_ROWS_MAX, MIRROR_BYTES_MAX};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::read::records_begin;
use crate::row::{Blob, Cut, Head, PendingDelete, SliceRow};
use crate::tables::{Tables, cut_at, last_id};
use crate::txn::Txn;
use std::ops::ControlFlow;

fn bounded(rows_max: u32) -> usize {
    rows_max.clamp(1, MAINTENANCE_ROWS_MAX) as usize
}

pub(super) fn step(rows: usize, more: bool) -> Success {
    Success::Maintained {
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        more,
    }
}

/// What the row of a file without names holds once its data has begun to go; nothing before.
pub(crate) const GOING: &[u8] = &[1];

/// Deletes a file without names, its data first.
pub(super) fn reap<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, rows_max: u32) -> Done {
    let (rows, more) = reap_rows(txn, ino, bounded(rows_max), Look::ForAll)?;
    Ok(step(rows, more))
}

/// Which rows of a file are looked for. A look for rows that are not there costs more than all the
/// rest, but earlier versions look for all, and what they read must have the same effects here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    ForAll,
    /// That a file of its kind and history can have, among others that were looked for together.
    ForPossible {
        xattrs: bool,
    },
}

/// Deletes files without names, one after the other.
pub(super) fn reap_files<B: KvRead>(txn: &mut Txn<'_, B>, inos: &[Ino], rows_max: u32) -> Done {
    let volume = txn.volume();
    let tables = [Table::Orphan, Table::Inode].into_iter();
    let keys =
        tables.flat_map(|table| inos.iter().map(move |ino| key::by_ino(volume, table, *ino)));
    txn.prefetch(keys.collect())?;
    let xattrs = any_xattrs(txn, inos)?;
    let look = Look::ForPossible { xattrs };
    let mut left = bounded(rows_max);
    let mut all = 0;
    for (done, ino) in inos.iter().enumerate() {
        let (rows, more) = match reap_rows(txn, *ino, left, look) {
            // It is refused before it changes anything, and must not hold up the others.
            Err(Stop::Refused(_)) => continue,
            reaped => reaped?,
        };
        all += rows;
        left = left.saturating_sub(rows);
        if more || left == 0 {
            return Ok(step(all, more || done + 1 < inos.len()));
        }
    }
    Ok(step(all, false))
}

/// Whether there are extended attributes of any file from the first to the last of `inos`: mostly there
/// are none, and one look tells it of all.
fn any_xattrs<B: KvRead>(txn: &Txn<'_, B>, inos: &[Ino]) -> Result<bool, Fatal> {
    let (Some(first), Some(last)) = (inos.iter().min(), inos.iter().max()) else {
        return Ok(false);
    };
    let begin = key::by_ino(txn.volume(), Table::Xattr, *first);
    let end = key::prefix_end(&key::by_ino(txn.volume(), Table::Xattr, *last));
    let mut any = false;
    txn.tables().scan(Family::State, &begin, &end, |_, _| {
        any = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any)
}

/// How many rows were deleted, and whether some are left, in which case they are as many as may be.
fn reap_rows<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    rows_max: usize,
    look: Look,
) -> Result<(usize, bool), Stop> {
    let volume = txn.volume();
    let orphan = key::by_ino(volume, Table::Orphan, ino);
    if txn.tables().row::<Blob>(&orphan)?.is_none() {
        return Ok((0, false));
    }
    let mut inode = txn.tables().inode(ino)?;
    let mut left = rows_max;
    let was_written = inode.kind == FileKind::Regular && inode.next > 0;
    if was_written || look == Look::ForAll {
        let slices: Vec<(Vec<u8>, SliceRow)> = txn
            .tables()
            .rows(&key::by_ino(volume, Table::Slice, ino), left)?;
        left -= slices.len();
        for (key, row) in slices {
            delete_slice(txn, ino, key, &row)?;
        }
        left -= delete_rows(txn, &key::by_ino(volume, Table::Cut, ino), left)?;
        if inode.holes {
            left -= delete_rows(txn, &key::by_ino(volume, Table::Hole, ino), left)?;
        }
        if inode.next >= COMPACT_LOOK_EVERY {
            left -= delete_rows(txn, &key::by_ino(volume, Table::Compactable, ino), left)?;
        }
    }
    if look != (Look::ForPossible { xattrs: false }) {
        left -= delete_rows(txn, &key::by_ino(volume, Table::Xattr, ino), left)?;
    }
    if inode.kind == FileKind::Symlink || look == Look::ForAll {
        left -= delete_rows(txn, &key::by_ino(volume, Table::Symlink, ino), left)?;
    }
    let rows = rows_max - left;
    if left == 0 {
        // From here on it is not what it was, and a reader of this state must not take the holes
        // for its content.
        txn.put(orphan, &Blob(GOING.to_vec()));
        return Ok((rows, true));
    }
    if inode.kind == FileKind::Regular {
        setattr::recount(txn, &mut inode, 0)?;
    }
    txn.delete(key::by_ino(volume, Table::Inode, ino));
    txn.delete(orphan);
    let counters = txn.counters();
    let gone = Fatal::Invariant("the volume's totals are not the sum of its files");
    match (
        counters.inodes.checked_sub(1),
        counters.orphans.checked_sub(1),
    ) {
        (Some(inodes), Some(orphans)) => {
            counters.inodes = inodes;
            counters.orphans = orphans;
        }
        _ => return Err(gone.into()),
    }
    Ok((rows + 1, false))
}

fn delete_rows<B: KvRead>(
    txn: &mut Txn<'_, B>,
    prefix: &[u8],
    count_max: usize,
) -> Result<usize, Fatal> {
    let mut keys = Vec::new();
    if count_max > 0 {
        txn.tables()
            .scan(Family::State, prefix, &key::prefix_end(prefix), |key, _| {
                keys.push(key.to_vec());
                Ok(if keys.len() < count_max {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
    }
    let count = keys.len();
    keys.into_iter().for_each(|key| txn.delete(key));
    Ok(count)
}

/// Where a slice's row stands, read from its key.
pub(super) fn place(key: &[u8]) -> Result<(ChunkIndex, SliceOrder), Fatal> {
    let mut ids = Ids(key.get(PREFIX_BYTES..).unwrap_or_default());
    match (ids.u64(), ids.u32(), ids.u64()) {
        (Some(_), Some(chunk), Some(order)) => Ok((ChunkIndex(chunk), SliceOrder(order))),
        _ => Err(Fatal::Invariant("a key is too short")),
    }
}

/// Deletes a slice's row. When it was the last of its slice, the slice waits for its deletion.
pub(super) fn delete_slice<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    key: Vec<u8>,
    row: &SliceRow,
) -> Result<(), Fatal> {
    let at = place(&key)?;
    txn.delete(key);
    let is_shown = match shared::release(txn, row.id)? {
        Some(is_shown) => is_shown,
        None => row.len != row.size && shared::has_sibling(txn, ino, at, row.id)?,
    };
    if !is_shown {
        pend(txn, row.id, row.size);
    }
    Ok(())
}

fn pend<B: KvRead>(txn: &mut Txn<'_, B>, id: SliceId, size: u32) {
    let since = txn.stamp();
    txn.put(
        key::pending_delete(txn.volume(), id),
        &PendingDelete { size, since },
    );
    let counters = txn.counters();
    counters.pending_slices += 1;
    counters.pending_bytes += u64::from(size);
}

/// Deletes or shortens slices behind truncations, from where the last step stopped.
pub(super) fn trim<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, rows_max: u32) -> Done {
    trim_rows(txn, ino, bounded(rows_max))
}

/// [`trim`] of so many rows, or of fewer if what is written anew is long: a mirror takes the record
/// of it in one command.
pub(super) fn trim_rows<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, count_max: usize) -> Done {
    let cuts = txn.tables().cuts(ino)?;
    let Some((last_key, _, last)) = cuts.last() else {
        return Ok(step(0, false));
    };
    let volume = txn.volume();
    let begin = key::slice(volume, ino, last.chunk, last.order);
    let end = key::prefix_end(&key::by_ino(volume, Table::Slice, ino));
    let rows: Vec<(Vec<u8>, SliceRow)> = txn.tables().rows_from(&begin, &end, count_max)?;
    let found = rows.len();
    let mut stopped = (last.chunk, last.order);
    let (mut seen, mut bytes) = (0, 0);
    for (key, row) in rows {
        stopped = place(&key)?;
        bytes += trim_slice(txn, ino, key, row, cut_at(&cuts, stopped.1.0))?;
        seen += 1;
        if bytes >= MIRROR_BYTES_MAX {
            break;
        }
    }
    if seen == count_max || seen < found {
        let next = SliceOrder(
            stopped
                .1
                .0
                .checked_add(1)
                .ok_or(Fatal::Exhausted("slice orders"))?,
        );
        let cursor = Cut {
            chunk: stopped.0,
            order: next,
            ..*last
        };
        txn.put(last_key.clone(), &cursor);
        return Ok(step(seen, true));
    }
    for (key, _, _) in cuts {
        txn.delete(key);
    }
    Ok(step(seen, false))
}

/// Tells how many bytes of checksums were written anew.
fn trim_slice<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    key: Vec<u8>,
    row: SliceRow,
    end: u64,
) -> Result<usize, Fatal> {
    let (chunk, _) = place(&key)?;
    let len = clipped(chunk, &row, end);
    if len == 0 {
        delete_slice(txn, ino, key, &row)?;
    } else if len < row.len {
        let bytes = row.frame_crcs.len() * size_of::<u32>();
        txn.put(key, &SliceRow { len, ..row });
        return Ok(bytes);
    }
    Ok(0)
}

/// Bytes of a slice's part that lie before the file offset `end`.
pub(crate) fn clipped(chunk: ChunkIndex, row: &SliceRow, end: u64) -> u32 {
    let begin = u64::from(chunk.0) * CHUNK_BYTES + u64::from(row.at);
    let room = end.saturating_sub(begin);
    u32::try_from(room).map_or(row.len, |room| room.min(row.len))
}

/// Drops the oldest records, a bounded step at a time.
pub(super) fn trim_changelog<B: KvRead>(
    txn: &mut Txn<'_, B>,
    head: &mut Head,
    keep_from: Seq,
) -> Done {
    let oldest = oldest_records(txn.tables(), head, keep_from)?;
    let (rows, more) = (oldest.keys.len(), oldest.more);
    oldest
        .keys
        .into_iter()
        .for_each(|key| txn.delete_record(key));
    Ok(step(rows, more))
}

/// Records that can go.
pub(super) struct Oldest {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) more: bool,
}

/// Finds a bounded number of the records before `keep_from`, and takes them out of the head.
pub(super) fn oldest_records<K: KvRead>(
    tables: Tables<'_, K>,
    head: &mut Head,
    keep_from: Seq,
) -> Result<Oldest, Stop> {
    if keep_from.0 > head.token.seq.0 + 1 {
        return Err(Stop::from(Refusal::InvalidArgument));
    }
    let prefix = tables.volume().0.to_be_bytes();
    let mut oldest = Oldest {
        keys: Vec::new(),
        more: false,
    };
    let begin = records_begin(tables, head.changelog_first)?;
    let mut bytes = 0;
    let mut last = None;
    tables.scan(
        Family::Changelog,
        &begin,
        &key::prefix_end(&prefix),
        |key, record| {
            let seq = last_id(key)?;
            if seq >= keep_from.0 {
                return Ok(ControlFlow::Break(()));
            }
            if oldest.keys.len() == MAINTENANCE_ROWS_MAX as usize {
                oldest.more = true;
                return Ok(ControlFlow::Break(()));
            }
            bytes += record.len() as u64;
            last = Some(seq);
            oldest.keys.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        },
    )?;
    if let Some(last) = last {
        head.changelog_first = Seq(last + 1);
    }
    head.changelog_bytes = head
        .changelog_bytes
        .checked_sub(bytes)
        .ok_or(Fatal::Invariant(
            "the changelog's bytes are not the sum of its records",
        ))?;
    Ok(oldest)
}
