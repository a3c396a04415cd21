//! Few slices take the place of many.

use super::maintain::delete_slice;
use super::{Done, session, shared, write};
use crate::attr::{Caller, FileKind};
use crate::command::NewSlice;
use crate::compaction::{Compact, runs, seen};
use crate::ids::{ChunkIndex, Ino, Level, SessionId, SliceOrder};
use crate::key;
use crate::kv::KvRead;
use crate::limits::{COMPACT_LOOK_EVERY, COMPACT_ROWS_MAX};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::query::Slice;
use crate::read::{barriers, stored_slice};
use crate::row::{Inode, SliceRow};
use crate::tables::last_id;
use crate::txn::Txn;
use std::ops::Range;

/// The level from which orders of new slices are looked at.
const ORDERS_LEVEL: Level = Level(6);

/// Has a chunk looked at for compaction, every so many slices of its file.
pub(super) fn note_slice<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    chunk: ChunkIndex,
    order: SliceOrder,
) -> Result<(), Fatal> {
    let is_time = order.0 % COMPACT_LOOK_EVERY == COMPACT_LOOK_EVERY - 1;
    if is_time && txn.tables().settings()?.level >= shared::LEVEL {
        txn.mark(key::compactable(txn.volume(), ino, chunk));
    }
    Ok(())
}

/// Replaces slices, if they are what the session read.
pub(super) fn compact<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    caller: &Caller,
    asked: &Compact,
) -> Done {
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    if txn.tables().settings()?.level < shared::LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    if asked.slices.is_empty() {
        txn.delete(key::compactable(txn.volume(), asked.ino, asked.chunk));
        return Ok(Success::Done);
    }
    let inode = txn.tables().inode(asked.ino)?;
    if inode.kind != FileKind::Regular {
        return Err(Refusal::InvalidArgument.into());
    }
    let old = old_slices(txn, &inode, asked)?;
    check_new(asked, &old)?;
    // What is written meanwhile lies above the highest old order, and stays there.
    let kept = old.iter().skip(old.len() - asked.slices.len());
    let kept = kept.zip(&asked.slices);
    if txn.tables().settings()?.level >= ORDERS_LEVEL {
        for ((key, _), slice) in kept.clone() {
            check_order(slice, last_id(key)?, &old)?;
        }
    }
    for (key, row) in &old {
        delete_slice(txn, asked.ino, key.clone(), row)?;
    }
    for ((key, _), slice) in kept {
        session::take_granted(txn, session, slice.id)?;
        let row = SliceRow {
            id: slice.id,
            size: slice.len,
            off: 0,
            len: slice.len,
            at: slice.at,
            frame_crcs: slice.frame_crcs.clone(),
        };
        txn.put(key.clone(), &row);
    }
    drop_holes(txn, &inode, asked)?;
    Ok(Success::Done)
}

type OldSlice = (Vec<u8>, SliceRow);

/// The slices that are to go, by rising order.
fn old_slices<B: KvRead>(
    txn: &Txn<'_, B>,
    inode: &Inode,
    asked: &Compact,
) -> Result<Vec<OldSlice>, Stop> {
    let Some(behind) = asked.last.0.checked_add(1) else {
        return Err(Refusal::InvalidArgument.into());
    };
    let place = |order| key::slice(txn.volume(), asked.ino, asked.chunk, order);
    let (begin, end) = (place(asked.first), place(SliceOrder(behind)));
    let tables = txn.tables();
    let rows: Vec<OldSlice> = tables.rows_from(&begin, &end, COMPACT_ROWS_MAX + 1)?;
    if rows.len() > COMPACT_ROWS_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let slices: Vec<Slice> = rows
        .iter()
        .map(|(key, row)| Ok(stored_slice(asked.chunk, SliceOrder(last_id(key)?), row)))
        .collect::<Result<_, Fatal>>()?;
    let inside = asked.first.0.saturating_add(1)..behind;
    let cuts = tables.cuts(asked.ino)?;
    let parted = barriers(tables, (asked.ino, inode), &cuts, asked.chunk)?
        .iter()
        .any(|order| inside.contains(order));
    if parted || seen(&slices) != asked.seen {
        return Err(Refusal::Changed.into());
    }
    Ok(rows)
}

/// The new slices are fewer, apart from each other, and where the old ones are.
fn check_new(asked: &Compact, old: &[OldSlice]) -> Result<(), Refusal> {
    for slice in &asked.slices {
        write::checked_end(slice)?;
    }
    let bytes = |runs: &[Range<u32>]| -> u64 { runs.iter().map(|run| run.len() as u64).sum() };
    let range = |at: u32, len: u32| at..at.saturating_add(len);
    let new = runs(asked.slices.iter().map(|slice| range(slice.at, slice.len)));
    let sum: u64 = asked.slices.iter().map(|slice| u64::from(slice.len)).sum();
    let fits = asked.slices.len() < old.len()
        && asked.slices.iter().all(|slice| slice.chunk == asked.chunk)
        && bytes(&new) == sum
        && new == runs(old.iter().map(|(_, row)| range(row.at, row.len)));
    if fits {
        Ok(())
    } else {
        Err(Refusal::InvalidArgument)
    }
}

/// A new slice gets an order that is not below any that it covers: who reads the chunk in pages has met the old
/// one, or meets the new one.
fn check_order(slice: &NewSlice, order: u64, old: &[OldSlice]) -> Result<(), Stop> {
    let end = slice.at.saturating_add(slice.len);
    for (key, row) in old {
        let is_covered = row.at < end && slice.at < row.at.saturating_add(row.len);
        if is_covered && last_id(key)? > order {
            return Err(Refusal::InvalidArgument.into());
        }
    }
    Ok(())
}

/// Holes go that lie over nothing any more.
fn drop_holes<B: KvRead>(
    txn: &mut Txn<'_, B>,
    inode: &Inode,
    asked: &Compact,
) -> Result<(), Fatal> {
    if !inode.holes {
        return Ok(());
    }
    let volume = txn.volume();
    let first = key::slice(volume, asked.ino, asked.chunk, SliceOrder(0));
    let end = key::slice(volume, asked.ino, asked.chunk, asked.first);
    let below: Vec<OldSlice> = txn.tables().rows_from(&first, &end, 1)?;
    if below.is_empty() {
        for (key, _) in txn.tables().holes(asked.ino, asked.chunk)? {
            if last_id(&key)? < asked.first.0 {
                txn.delete(key);
            }
        }
    }
    Ok(())
}
