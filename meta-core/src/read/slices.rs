//! Which slices make up files.

use crate::apply::{GOING, clipped};
use crate::attr::{Caller, FileKind};
use crate::compaction::{Effort, Place, plan};
use crate::ids::{ChunkIndex, Ino, SliceOrder};
use crate::key::{self, Ids, Key, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{COMPACT_LOOK_MAX, COMPACTABLE_PAGE_MAX, PAGE_BYTES_MAX, READ_SLICES_MAX};
use crate::outcome::{Fatal, Refusal, Stop};
use crate::query::{Answer, Slice, SliceCursor};
use crate::row::{Blob, Cut, Hole, Inode, Row, SliceRow};
use crate::tables::{Tables, cut_at, last_id};
use std::ops::{ControlFlow, Range};

/// Bytes that a slice takes in a page beside its crcs, roughly.
const ITEM_BYTES: usize = 128;

/// A file's truncations, as [`Tables::cuts`] gives them.
pub(crate) type Cuts = Vec<(Vec<u8>, u64, Cut)>;

pub(super) fn read_slices<K: KvRead>(
    tables: Tables<'_, K>,
    ino: Ino,
    from: SliceCursor,
    end: ChunkIndex,
) -> Result<Answer, Stop> {
    let inode = tables.inode(ino)?;
    if inode.kind != FileKind::Regular {
        return Err(Refusal::InvalidArgument.into());
    }
    let volume = tables.volume();
    if inode.nlink == 0 {
        // Read at a mirror, a file may go while somebody holds it.
        let orphan = key::by_ino(volume, Table::Orphan, ino);
        let going = tables.row::<Blob>(&orphan)?;
        if going.is_some_and(|Blob(said)| said == GOING) {
            return Err(Refusal::Stale.into());
        }
    }
    let cuts = tables.cuts(ino)?;
    let begin = key::slice(volume, ino, from.chunk, from.order);
    let end = key::slice(volume, ino, end, SliceOrder(0));
    let mut slices = Vec::new();
    let mut bytes = 0;
    let mut seen = 0;
    let mut next = None;
    let mut holes = Holes::default();
    tables.scan(Family::State, &begin, &end, |key, row| {
        let (chunk, order) = slice_place(key)?;
        if inode.holes {
            holes.enter(tables, ino, chunk)?;
        }
        if seen == READ_SLICES_MAX || bytes >= PAGE_BYTES_MAX {
            next = Some(SliceCursor { chunk, order });
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        let row = SliceRow::decode(key, row)?;
        for part in holes.parts(&cuts, (chunk, order), &row) {
            bytes += row.frame_crcs.len() * size_of::<u32>() + ITEM_BYTES;
            slices.push(part);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Answer::Slices {
        attr: inode.attr(ino),
        slices,
        next,
    })
}

/// The part of a slice that shows in `run` of the chunk.
fn part(chunk: ChunkIndex, order: SliceOrder, run: Range<u32>, row: &SliceRow) -> Slice {
    Slice {
        chunk,
        order,
        id: row.id,
        size: row.size,
        off: row.off.saturating_add(run.start - row.at),
        len: run.end - run.start,
        at: run.start,
        frame_crcs: row.frame_crcs.clone(),
    }
}

/// The holes of the chunk that a reading has come to.
#[derive(Default)]
struct Holes {
    chunk: Option<ChunkIndex>,
    rows: Vec<(SliceOrder, Hole)>,
}

impl Holes {
    fn enter<K: KvRead>(
        &mut self,
        tables: Tables<'_, K>,
        ino: Ino,
        chunk: ChunkIndex,
    ) -> Result<(), Fatal> {
        if self.chunk == Some(chunk) {
            return Ok(());
        }
        let rows = tables.holes(ino, chunk)?.into_iter();
        let rows = rows.map(|(key, hole)| Ok((SliceOrder(last_id(&key)?), hole)));
        self.rows = rows.collect::<Result<_, Fatal>>()?;
        // What is asked for first is found first.
        self.rows.sort_unstable_by_key(|(_, hole)| hole.at);
        self.chunk = Some(chunk);
        Ok(())
    }

    /// What shows of a slice.
    fn parts(
        &self,
        cuts: &Cuts,
        (chunk, order): (ChunkIndex, SliceOrder),
        row: &SliceRow,
    ) -> Vec<Slice> {
        let len = clipped(chunk, row, cut_at(cuts, order.0));
        let runs = self.visible(row.at..row.at.saturating_add(len), order);
        let part = |run| part(chunk, order, run, row);
        runs.into_iter().map(part).collect()
    }

    /// The runs of `range` in which a slice of `order` shows, by rising place.
    fn visible(&self, range: Range<u32>, order: SliceOrder) -> Vec<Range<u32>> {
        let mut runs = Vec::new();
        let mut at = range.start;
        for (_, hole) in self.rows.iter().filter(|(later, _)| *later > order) {
            if hole.at >= range.end {
                break;
            }
            if hole.at > at {
                runs.push(at..hole.at);
            }
            at = at.max(hole.end());
        }
        if at < range.end {
            runs.push(at..range.end);
        }
        runs
    }
}

fn slice_place(key: &[u8]) -> Result<(ChunkIndex, SliceOrder), Fatal> {
    let mut ids = Ids(key
        .get(PREFIX_BYTES + size_of::<u64>()..)
        .unwrap_or_default());
    match (ids.u32(), ids.u64()) {
        (Some(chunk), Some(order)) => Ok((ChunkIndex(chunk), SliceOrder(order))),
        _ => Err(Fatal::Invariant("a key is too short")),
    }
}

/// What shows of the slices of one chunk of a file, oldest first, and how many rows that is of; `None` if
/// there are more than `rows_max`, or if holes part them in more than `parts_max`.
pub(crate) fn chunk_slices<K: KvRead>(
    tables: Tables<'_, K>,
    (ino, inode): (Ino, &Inode),
    cuts: &Cuts,
    chunk: ChunkIndex,
    (rows_max, parts_max): (usize, usize),
) -> Result<Option<(Vec<Slice>, usize)>, Fatal> {
    let mut holes = Holes::default();
    if inode.holes {
        holes.enter(tables, ino, chunk)?;
    }
    let (mut slices, mut rows) = (Vec::new(), 0);
    scan_chunk(tables, ino, chunk, |order, row| {
        rows += 1;
        if rows > rows_max || slices.len() > parts_max {
            return ControlFlow::Break(());
        }
        slices.extend(holes.parts(cuts, (chunk, order), &row));
        ControlFlow::Continue(())
    })?;
    let is_all = rows <= rows_max && slices.len() <= parts_max;
    Ok(is_all.then_some((slices, rows)))
}

/// Calls `visit` for each slice's row of a chunk by rising order, until it breaks.
fn scan_chunk<K: KvRead>(
    tables: Tables<'_, K>,
    ino: Ino,
    chunk: ChunkIndex,
    mut visit: impl FnMut(SliceOrder, SliceRow) -> ControlFlow<()>,
) -> Result<(), Fatal> {
    let begin = key::slice(tables.volume(), ino, chunk, SliceOrder(0));
    let prefix = begin.get(..begin.len() - size_of::<u64>());
    let end = key::prefix_end(prefix.unwrap_or_default());
    tables.scan(Family::State, &begin, &end, |key, row| {
        let order = SliceOrder(last_id(key)?);
        Ok(visit(order, SliceRow::decode(key, row)?))
    })
}

/// A slice as it is stored, whatever lies over it.
pub(crate) fn stored_slice(chunk: ChunkIndex, order: SliceOrder, row: &SliceRow) -> Slice {
    part(chunk, order, row.at..row.at.saturating_add(row.len), row)
}

/// Orders of what lies over all slices of a lower order, by rising order: holes of the chunk, and
/// truncations.
pub(crate) fn barriers<K: KvRead>(
    tables: Tables<'_, K>,
    (ino, inode): (Ino, &Inode),
    cuts: &Cuts,
    chunk: ChunkIndex,
) -> Result<Vec<u64>, Fatal> {
    let mut orders: Vec<u64> = cuts.iter().map(|(_, order, _)| *order).collect();
    if inode.holes {
        for (key, _) in tables.holes(ino, chunk)? {
            orders.push(last_id(&key)?);
        }
    }
    orders.sort_unstable();
    Ok(orders)
}

/// Which slices of a chunk to compact.
pub(super) fn plan_compaction<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    (ino, chunk): (Ino, ChunkIndex),
    effort: Effort,
) -> Result<Answer, Stop> {
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    let inode = tables.inode(ino)?;
    if inode.kind != FileKind::Regular {
        return Err(Refusal::InvalidArgument.into());
    }
    let mut places = Vec::new();
    scan_chunk(tables, ino, chunk, |order, row| {
        places.push(Place {
            order,
            at: row.at,
            len: row.len,
        });
        if places.len() == COMPACT_LOOK_MAX {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    let cuts = tables.cuts(ino)?;
    let barriers = barriers(tables, (ino, &inode), &cuts, chunk)?;
    let Some(found) = plan(&places, &barriers, effort) else {
        return Ok(Answer::Compaction(Vec::new()));
    };
    let found = places.get(found).unwrap_or_default();
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        return Ok(Answer::Compaction(Vec::new()));
    };
    let begin = key::slice(tables.volume(), ino, chunk, first.order);
    let end = key::slice(tables.volume(), ino, chunk, last.order);
    let rows: Vec<(Vec<u8>, SliceRow)> =
        tables.rows_from(&begin, &key::prefix_end(&end), found.len())?;
    let slices = rows
        .iter()
        .map(|(key, row)| Ok(stored_slice(chunk, SliceOrder(last_id(key)?), row)));
    Ok(Answer::Compaction(slices.collect::<Result<_, Fatal>>()?))
}

/// A page of the chunks that may be worth compacting.
pub(super) fn compactable<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    (ino, chunk): (Ino, ChunkIndex),
    count_max: u32,
) -> Result<Answer, Stop> {
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    let count_max = count_max.clamp(1, COMPACTABLE_PAGE_MAX) as usize;
    let volume = tables.volume();
    let after = key::compactable(volume, ino, chunk);
    let begin = key::prefix_end(&after);
    let end = key::prefix_end(&Key::new(volume, Table::Compactable).done());
    let mut chunks = Vec::new();
    tables.scan(Family::State, &begin, &end, |key, _| {
        let mut ids = Ids(key.get(PREFIX_BYTES..).unwrap_or_default());
        let (Some(ino), Some(chunk)) = (ids.u64(), ids.u32()) else {
            return Err(Fatal::Invariant("a key is too short"));
        };
        chunks.push((Ino(ino), ChunkIndex(chunk)));
        Ok(if chunks.len() == count_max {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(Answer::Chunks(chunks))
}
