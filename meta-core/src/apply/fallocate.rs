//! Ranges of files that become holes.
//!
//! What slices show there is taken away where that can be said in their own rows: they go, or become
//! shorter. Where a hole lies in the middle of one it gets a row of its own, which hides what slices of
//! a lower order have there, as a truncation does behind its length.

use super::maintain::{delete_slice, place};
use super::{Done, setattr, write};
use crate::attr::{Caller, FileKind};
use crate::command::{Fallocate, FallocateMode};
use crate::ids::{ChunkIndex, Ino, Level, SliceOrder};
use crate::key::{self, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{
    CHUNK_BYTES, FALLOCATE_CHUNKS_MAX, FILE_BYTES_MAX, HOLES_MAX, MAINTENANCE_ROWS_MAX,
    MIRROR_BYTES_MAX,
};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Hole, SliceRow};
use crate::tables::Tables;
use crate::txn::Txn;
use std::ops::ControlFlow;

/// The level from which files may have rows of holes.
pub(crate) const HOLES_LEVEL: Level = Level(2);

/// Makes a range read as zeros, as far as one command may go.
pub(super) fn fallocate<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    asked: &Fallocate,
) -> Done {
    if txn.tables().settings()?.level < HOLES_LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    let mut inode = txn.tables().inode(asked.ino)?;
    match inode.kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(Refusal::IsDirectory.into()),
        _ => return Err(Refusal::InvalidArgument.into()),
    }
    let end = checked_end(asked)?;
    let mut digging = Digging {
        txn,
        ino: asked.ino,
        order: setattr::take_order(&mut inode)?,
        bytes: 0,
        rows: 0,
        holes: false,
    };
    // Behind the last byte there is nothing to hide.
    let next = digging.range(asked.offset, end.min(inode.length))?;
    inode.holes |= digging.holes;
    let next = next.unwrap_or(end);
    if asked.mode == FallocateMode::Zero && next == end && end > inode.length {
        setattr::resize(txn, asked.ino, &mut inode, end)?;
    }
    inode.mtime = txn.stamp();
    write::written(txn, caller, asked.ino, &mut inode)?;
    Ok(Success::Fallocated {
        next,
        attr: inode.attr(asked.ino),
    })
}

fn checked_end(asked: &Fallocate) -> Result<u64, Refusal> {
    if asked.len == 0 {
        return Err(Refusal::InvalidArgument);
    }
    match asked.offset.checked_add(asked.len) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(end),
        _ => Err(Refusal::FileTooLarge),
    }
}

/// One command's way through the chunks of a file.
pub(super) struct Digging<'t, 'p, B> {
    pub(super) txn: &'t mut Txn<'p, B>,
    pub(super) ino: Ino,
    pub(super) order: SliceOrder,
    /// Bytes of checksums that were written anew: a mirror takes the record in one command.
    pub(super) bytes: usize,
    /// Rows that were looked at.
    pub(super) rows: usize,
    /// Whether a hole needed a row.
    pub(super) holes: bool,
}

impl<B: KvRead> Digging<'_, '_, B> {
    /// Goes through the chunks with data in a range. Gives where the next command goes on, if this one
    /// could not come to the end.
    pub(super) fn range(&mut self, begin: u64, end: u64) -> Result<Option<u64>, Stop> {
        let mut at = begin;
        let mut chunks = 0;
        while at < end {
            let tables = self.txn.tables();
            let Some(chunk) = next_chunk(tables, self.ino, setattr::chunk_of(at)?, end)? else {
                return Ok(None);
            };
            let first = u64::from(chunk.0) * CHUNK_BYTES;
            at = at.max(first);
            let is_full = chunks == FALLOCATE_CHUNKS_MAX
                || self.rows >= MAINTENANCE_ROWS_MAX as usize
                || self.bytes >= MIRROR_BYTES_MAX;
            if is_full {
                return Ok(Some(at));
            }
            let stop = end.min(first + CHUNK_BYTES);
            self.chunk(chunk, within(at - first)?, within(stop - first)?)?;
            chunks += 1;
            at = stop;
        }
        Ok(None)
    }

    /// Makes `begin..end` of a chunk a hole.
    fn chunk(&mut self, chunk: ChunkIndex, begin: u32, end: u32) -> Result<(), Stop> {
        let volume = self.txn.volume();
        let hole = Hole {
            at: begin,
            len: end - begin,
        };
        let first = key::slice(volume, self.ino, chunk, SliceOrder(0));
        let rows_max = MAINTENANCE_ROWS_MAX as usize;
        let rows: Vec<(Vec<u8>, SliceRow)> =
            self.txn
                .tables()
                .rows_from(&first, &key::prefix_end(&prefix(&first)), rows_max)?;
        self.rows += rows.len();
        // With more rows than that, those that were not looked at are hidden by a row.
        let mut needed = rows.len() == rows_max;
        for (key, row) in rows {
            needed |= self.slice(key, row, hole)?;
        }
        let earlier: Vec<(Vec<u8>, Hole)> = self.txn.tables().holes(self.ino, chunk)?;
        let (inside, beside): (Vec<_>, Vec<_>) = earlier
            .into_iter()
            .partition(|(_, earlier)| earlier.at >= begin && earlier.end() <= end);
        if !needed {
            // Nothing shows there any more, whatever earlier holes say.
            inside.into_iter().for_each(|(key, _)| self.txn.delete(key));
            return Ok(());
        }
        if beside.len() >= HOLES_MAX {
            return Err(Refusal::LimitReached.into());
        }
        inside.into_iter().for_each(|(key, _)| self.txn.delete(key));
        let key = key::hole(volume, self.ino, chunk, self.order);
        self.txn.put(key, &hole);
        self.holes = true;
        Ok(())
    }

    /// Takes a hole out of a slice's row. True if it lies in the middle, where it cannot be taken out.
    fn slice(&mut self, key: Vec<u8>, row: SliceRow, hole: Hole) -> Result<bool, Fatal> {
        let end = row.at.saturating_add(row.len);
        if end <= hole.at || row.at >= hole.end() {
            return Ok(false);
        }
        let (head, tail) = (
            hole.at.saturating_sub(row.at),
            end.saturating_sub(hole.end()),
        );
        if head == 0 && tail == 0 {
            delete_slice(self.txn, self.ino, key, &row)?;
            return Ok(false);
        }
        let gone = row.len.saturating_sub(tail);
        // A row that lies outside its slice came from a dump, and stays as it is.
        let off = if tail > 0 {
            row.off.checked_add(gone).filter(|off| *off < row.size)
        } else {
            Some(row.off)
        };
        let Some(off) = off.filter(|_| head == 0 || tail == 0) else {
            return Ok(true);
        };
        if self.bytes >= MIRROR_BYTES_MAX {
            return Ok(true);
        }
        self.bytes += row.frame_crcs.len() * size_of::<u32>();
        let left = if head > 0 {
            SliceRow { len: head, ..row }
        } else {
            SliceRow {
                off,
                at: row.at.saturating_add(gone),
                len: tail,
                ..row
            }
        };
        self.txn.put(key, &left);
        Ok(false)
    }
}

/// The first chunk from one on that has a slice and begins before a file offset.
pub(super) fn next_chunk<K: KvRead>(
    tables: Tables<'_, K>,
    ino: Ino,
    from: ChunkIndex,
    end: u64,
) -> Result<Option<ChunkIndex>, Fatal> {
    let volume = tables.volume();
    let begin = key::slice(volume, ino, from, SliceOrder(0));
    let last = setattr::chunk_of(end - 1)?;
    let behind = last.0.checked_add(1).map(ChunkIndex);
    let end = behind.map_or_else(
        || key::prefix_end(&key::by_ino(volume, Table::Slice, ino)),
        |behind| key::slice(volume, ino, behind, SliceOrder(0)),
    );
    let mut found = None;
    tables.scan(Family::State, &begin, &end, |key, _| {
        found = Some(place(key)?.0);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The part of a slice's key up to its chunk.
fn prefix(key: &[u8]) -> Vec<u8> {
    let ids = PREFIX_BYTES + size_of::<u64>() + size_of::<u32>();
    key.get(..ids).unwrap_or_default().to_vec()
}

fn within(offset: u64) -> Result<u32, Fatal> {
    u32::try_from(offset).map_err(|_| Fatal::Invariant("a chunk is larger than 4 GiB"))
}
