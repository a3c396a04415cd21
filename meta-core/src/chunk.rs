//! Which slice shows at each byte of a chunk: a later slice covers an earlier one, and bytes that
//! none covers read as zeros.

use crate::limits::CHUNK_BYTES;
use crate::query::Slice;
use std::collections::BTreeMap;
use std::ops::Range;

/// A run of bytes of a chunk that come from one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where it begins in the chunk, in bytes.
    pub at: u32,
    /// Its bytes.
    pub len: u32,
    /// Index of the slice among those given, and where in the *uploaded* slice the run begins;
    /// `None` for zeros.
    pub data: Option<(usize, u32)>,
}

/// A run in the map of a chunk: where it ends, and what shows there.
#[derive(Clone, Copy)]
struct Run {
    end: u32,
    slice: usize,
    /// Where in the uploaded slice the run begins.
    off: u32,
}

/// The pieces of `range` of one chunk, in order and without gaps. `slices` are those of that
/// chunk, oldest first, as [`crate::query::Answer::Slices`] lists them.
///
/// Time is O(n log n) in the number of slices: a map of disjoint runs takes in one after the
/// other.
pub fn resolve(slices: &[Slice], range: Range<u32>) -> Vec<Piece> {
    let mut runs: BTreeMap<u32, Run> = BTreeMap::new();
    for (index, slice) in slices.iter().enumerate() {
        let end = slice.at.saturating_add(slice.len);
        if slice.len > 0 && slice.at < range.end && end > range.start {
            clear(&mut runs, slice.at, end);
            runs.insert(
                slice.at,
                Run {
                    end,
                    slice: index,
                    off: slice.off,
                },
            );
        }
    }
    fill(&runs, range)
}

/// Takes `begin..end` out of the runs.
fn clear(runs: &mut BTreeMap<u32, Run>, begin: u32, end: u32) {
    if let Some((&at, run)) = runs.range_mut(..begin).next_back()
        && run.end > begin
    {
        let whole = *run;
        run.end = begin;
        if whole.end > end {
            runs.insert(
                end,
                Run {
                    off: whole.off + (end - at),
                    ..whole
                },
            );
        }
    }
    while let Some((&at, &run)) = runs.range(begin..end).next() {
        runs.remove(&at);
        if run.end > end {
            runs.insert(
                end,
                Run {
                    off: run.off + (end - at),
                    ..run
                },
            );
        }
    }
}

/// The runs in `range`, with zeros between them.
fn fill(runs: &BTreeMap<u32, Run>, range: Range<u32>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = range.start;
    for (&begin, run) in runs {
        let from = begin.max(at);
        let to = run.end.min(range.end);
        if from >= to {
            continue;
        }
        if at < from {
            pieces.push(Piece {
                at,
                len: from - at,
                data: None,
            });
        }
        let data = Some((run.slice, run.off + (from - begin)));
        pieces.push(Piece {
            at: from,
            len: to - from,
            data,
        });
        at = to;
    }
    if at < range.end {
        pieces.push(Piece {
            at,
            len: range.end - at,
            data: None,
        });
    }
    pieces
}

/// The chunk of a file offset, and where in the chunk it lies.
pub fn split(offset: u64) -> Option<(crate::ids::ChunkIndex, u32)> {
    let chunk = u32::try_from(offset / CHUNK_BYTES).ok()?;
    let within = u32::try_from(offset % CHUNK_BYTES).ok()?;
    Some((crate::ids::ChunkIndex(chunk), within))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChunkIndex, SliceId, SliceOrder};
    use proptest::prelude::*;

    fn slice(order: u64, at: u32, off: u32, len: u32) -> Slice {
        Slice {
            chunk: ChunkIndex(0),
            order: SliceOrder(order),
            id: SliceId(order),
            size: off + len,
            off,
            len,
            at,
            frame_crcs: Vec::new(),
        }
    }

    #[test]
    fn a_later_slice_covers_an_earlier_one() {
        let slices = [slice(0, 0, 0, 10), slice(1, 3, 5, 4)];
        let pieces = resolve(&slices, 1..12);
        let expected = [
            Piece {
                at: 1,
                len: 2,
                data: Some((0, 1)),
            },
            Piece {
                at: 3,
                len: 4,
                data: Some((1, 5)),
            },
            Piece {
                at: 7,
                len: 3,
                data: Some((0, 7)),
            },
            Piece {
                at: 10,
                len: 2,
                data: None,
            },
        ];
        assert_eq!(pieces, expected);
    }

    proptest! {
        #[test]
        fn pieces_say_what_a_byte_by_byte_painting_says(
            parts in prop::collection::vec((0u32..60, 0u32..5, 1u32..20), 0..12),
            begin in 0u32..70,
            len in 0u32..30,
        ) {
            let slices: Vec<Slice> = parts
                .iter()
                .enumerate()
                .map(|(order, (at, off, len))| slice(order as u64, *at, *off, *len))
                .collect();
            let mut painted = [None; 128];
            for (index, slice) in slices.iter().enumerate() {
                for byte in 0..slice.len {
                    painted[(slice.at + byte) as usize] = Some((index, slice.off + byte));
                }
            }
            let mut at = begin;
            for piece in resolve(&slices, begin..begin + len) {
                prop_assert_eq!(piece.at, at);
                prop_assert!(piece.len > 0);
                for byte in 0..piece.len {
                    let shown = piece.data.map(|(index, off)| (index, off + byte));
                    prop_assert_eq!(painted[(at + byte) as usize], shown);
                }
                at += piece.len;
            }
            prop_assert_eq!(at, begin + len);
        }
    }
}
