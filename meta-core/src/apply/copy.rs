//! A range of a file becomes what another one is: rows are written, and no data is read. Where the source
//! has nothing, the target gets a hole.

use super::fallocate::{Digging, next_chunk};
use super::{Done, compact, setattr, shared, write};
use crate::attr::{Caller, FileKind};
use crate::chunk::resolve;
use crate::command::CopyRange;
use crate::ids::{Ino, Level};
use crate::key;
use crate::kv::KvRead;
use crate::limits::{
    CHUNK_BYTES, COPY_BYTES_MAX, COPY_SLICES_MAX, FILE_BYTES_MAX, MAINTENANCE_ROWS_MAX,
    MIRROR_BYTES_MAX,
};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::query::Slice;
use crate::read::{Cuts, chunk_slices};
use crate::row::{Inode, SliceRow};
use crate::txn::Txn;

/// The level from which rows that show nothing count as well, and so do the parts that holes make of one:
/// members of earlier builds copy more of them at once.
const BOUNDED_LEVEL: Level = Level(6);

/// Copies as much of a range as one command may.
pub(super) fn copy_range<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    asked: &CopyRange,
) -> Done {
    let level = txn.tables().settings()?.level;
    if level < shared::LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    let from = regular(txn, asked.from)?;
    let mut to = regular(txn, asked.to)?;
    let len = copyable(asked, from.length)?;
    if len == 0 {
        let attr = to.attr(asked.to);
        return Ok(Success::Copied { len, attr });
    }
    let cuts = txn.tables().cuts(asked.from)?;
    let mut copying = Copying {
        txn,
        asked,
        // A file that is copied in itself gets holes on the way.
        source: Inode {
            holes: from.holes || asked.from == asked.to,
            ..from
        },
        cuts,
        target: &mut to,
        is_bounded: level >= BOUNDED_LEVEL,
        bytes: 0,
        rows: 0,
    };
    let len = copying.run(len)?;
    let end = asked.to_offset + len;
    if end > to.length {
        setattr::resize(txn, asked.to, &mut to, end)?;
    }
    to.mtime = txn.stamp();
    write::written(txn, caller, asked.to, &mut to)?;
    let attr = to.attr(asked.to);
    Ok(Success::Copied { len, attr })
}

fn regular<B: KvRead>(txn: &Txn<'_, B>, ino: Ino) -> Result<Inode, Stop> {
    let inode = txn.tables().inode(ino)?;
    match inode.kind {
        FileKind::Regular => Ok(inode),
        FileKind::Directory => Err(Refusal::IsDirectory.into()),
        _ => Err(Refusal::InvalidArgument.into()),
    }
}

/// How much of the range there is to be copied.
fn copyable(asked: &CopyRange, length: u64) -> Result<u64, Refusal> {
    if asked.len == 0 {
        return Err(Refusal::InvalidArgument);
    }
    let there = length.saturating_sub(asked.offset);
    let room = FILE_BYTES_MAX.saturating_sub(asked.to_offset);
    if there > 0 && room == 0 {
        return Err(Refusal::FileTooLarge);
    }
    // What does not fit into a file is not copied, as with a write that is cut short there.
    let len = asked.len.min(there).min(room).min(COPY_BYTES_MAX);
    // What is asked for must be apart, also where it is not there.
    let is_over = asked.from == asked.to && asked.offset.abs_diff(asked.to_offset) < asked.len;
    if is_over {
        return Err(Refusal::InvalidArgument);
    }
    Ok(len)
}

/// One command's way through a range. Places in it are counted from its begin.
struct Copying<'t, 'p, B> {
    txn: &'t mut Txn<'p, B>,
    asked: &'t CopyRange,
    source: Inode,
    cuts: Cuts,
    target: &'t mut Inode,
    is_bounded: bool,
    /// Bytes of checksums that were written: a mirror takes the record in one command.
    bytes: usize,
    /// Rows that were written or looked at.
    rows: usize,
}

impl<B: KvRead> Copying<'_, '_, B> {
    /// Tells how far it came, which is at least one byte.
    fn run(&mut self, len: u64) -> Result<u64, Stop> {
        let mut done = 0;
        while done < len && !self.is_full() {
            let at = self.asked.offset + done;
            let end = self.asked.offset + len;
            let chunk = setattr::chunk_of(at)?;
            let tables = self.txn.tables();
            let Some(found) = next_chunk(tables, self.asked.from, chunk, end)? else {
                return self.gap(done, len);
            };
            let first = u64::from(found.0) * CHUNK_BYTES;
            if first > at {
                let stop = (first - self.asked.offset).min(len);
                done = self.gap(done, stop)?;
                if done < stop {
                    break;
                }
                continue;
            }
            let source = (self.asked.from, &self.source);
            let parts_max = if self.is_bounded {
                COPY_SLICES_MAX
            } else {
                usize::MAX
            };
            let most = (COPY_SLICES_MAX, parts_max);
            let slices = chunk_slices(tables, source, &self.cuts, found, most)?;
            let (slices, seen) = slices.ok_or(Refusal::LimitReached)?;
            let stop = end.min(first + CHUNK_BYTES);
            let reached = self.pieces(&slices, at - first..stop - first, done)?;
            done += reached;
            if self.is_bounded {
                self.rows += seen;
            }
            if reached < stop - at {
                break;
            }
        }
        Ok(done)
    }

    fn is_full(&self) -> bool {
        self.rows >= MAINTENANCE_ROWS_MAX as usize || self.bytes >= MIRROR_BYTES_MAX
    }

    /// Copies a range of a chunk. Tells how much of it.
    fn pieces(
        &mut self,
        slices: &[Slice],
        range: std::ops::Range<u64>,
        done: u64,
    ) -> Result<u64, Stop> {
        let mut reached = 0;
        for piece in resolve(slices, within(range.start)?..within(range.end)?) {
            let stop = reached + u64::from(piece.len);
            let shown = piece
                .data
                .and_then(|(index, off)| Some((slices.get(index)?, off)));
            match shown {
                Some((slice, off)) => {
                    self.place(slice, off, piece.len, done + reached)?;
                    reached = stop;
                }
                None => {
                    let end = self.gap(done + reached, done + stop)?;
                    let is_whole = end == done + stop;
                    reached = end - done;
                    if !is_whole {
                        break;
                    }
                }
            }
            if self.is_full() {
                break;
            }
        }
        Ok(reached)
    }

    /// Puts a part of a slice into the target.
    fn place(&mut self, slice: &Slice, off: u32, len: u32, done: u64) -> Result<(), Stop> {
        let mut part = 0;
        while part < len {
            let at = self.asked.to_offset + done + u64::from(part);
            let place = within(at % CHUNK_BYTES)?;
            let room = within(CHUNK_BYTES)? - place;
            let order = setattr::take_order(self.target)?;
            let row = SliceRow {
                id: slice.id,
                size: slice.size,
                off: off + part,
                len: room.min(len - part),
                at: place,
                frame_crcs: slice.frame_crcs.clone(),
            };
            shared::share(self.txn, self.asked.from, slice)?;
            let chunk = setattr::chunk_of(at)?;
            let key = key::slice(self.txn.volume(), self.asked.to, chunk, order);
            self.txn.put(key, &row);
            compact::note_slice(self.txn, self.asked.to, chunk, order)?;
            self.bytes += row.frame_crcs.len() * size_of::<u32>();
            self.rows += 1;
            part += row.len;
        }
        Ok(())
    }

    /// Makes a part of the range a hole. Tells where that ends: before `end` if it was too much.
    fn gap(&mut self, begin: u64, end: u64) -> Result<u64, Stop> {
        let first = self.asked.to_offset + begin;
        // Behind the last byte there is nothing to hide.
        let stop = (self.asked.to_offset + end).min(self.target.length);
        if first >= stop {
            return Ok(end);
        }
        let mut digging = Digging {
            order: setattr::take_order(self.target)?,
            ino: self.asked.to,
            bytes: self.bytes,
            rows: self.rows,
            holes: false,
            txn: &mut *self.txn,
        };
        let next = digging.range(first, stop)?;
        (self.bytes, self.rows) = (digging.bytes, digging.rows);
        self.target.holes |= digging.holes;
        Ok(next.map_or(end, |next| next - self.asked.to_offset))
    }
}

fn within(offset: u64) -> Result<u32, Fatal> {
    u32::try_from(offset).map_err(|_| Fatal::Invariant("a chunk is larger than 4 GiB"))
}
