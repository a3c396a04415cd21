//! Many slices of a chunk that become few: which ones, decided from their places alone.
//!
//! Slices lie over each other by their *order*, and a hole or a truncation of an order lies over all of a
//! lower one: it is a *barrier*. What is compacted is a run of slices without a barrier in it. The new ones
//! take the highest orders of the old ones, so that what lies below and above stays below and above, also
//! what is written meanwhile.
//!
//! Bytes are written anew only if that pays: as in the size-tiered compaction of a log-structured merge tree
//! (Lakshman and Malik, *Cassandra*, 2010), slices are put together when none of them is more than a quarter
//! of all: then a byte is written anew at most log4(n) times while a chunk is filled by n small writes.

use crate::command::NewSlice;
use crate::digest::Digest;
use crate::ids::{ChunkIndex, Ino, SliceOrder};
use crate::limits::{COMPACT_ROWS_MAX, COMPACT_ROWS_MIN, COMPACT_WHOLE_ROWS};
use crate::query::Slice;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_128;

/// Slices of a chunk that few new ones take the place of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compact {
    /// The file.
    pub ino: Ino,
    /// The chunk.
    pub chunk: ChunkIndex,
    /// The first of the old slices.
    pub first: SliceOrder,
    /// The last of them: all between the two go.
    pub last: SliceOrder,
    /// What they were when they were read: [`seen`].
    pub seen: u128,
    /// The new ones: fewer than the old ones, apart from each other, and over the same bytes. None says that
    /// nothing can be made better there.
    pub slices: Vec<NewSlice>,
}

/// What comes of a slice is at least so many times as long.
const GROWTH: u64 = 4;

/// How far one is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Where it pays.
    Enough,
    /// Wherever it makes slices fewer.
    All,
}

/// Where a slice lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) order: SliceOrder,
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// What tells slices from others: order, id, bounds and place of each, in a sum that does not depend on how
/// they are listed.
pub fn seen(slices: &[Slice]) -> u128 {
    let mut sum = Digest::default();
    for slice in slices {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&slice.order.0.to_le_bytes());
        bytes.extend_from_slice(&slice.id.0.to_le_bytes());
        for number in [slice.size, slice.off, slice.len, slice.at] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        sum.add(xxh3_128(&bytes));
    }
    sum.0
}

/// The ranges of a chunk in which at least one of these places lies, by rising begin: neighbours are one.
pub fn runs(places: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
    let mut places: Vec<Range<u32>> = places.filter(|place| !place.is_empty()).collect();
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let mut runs: Vec<Range<u32>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(last) if last.end >= place.start => last.end = last.end.max(place.end),
            _ => runs.push(place),
        }
    }
    runs
}

/// Which places of a chunk to compact, if any: a range of `places`, which are by rising order.
/// `barriers` are orders of holes and truncations, rising as well.
pub(crate) fn plan(places: &[Place], barriers: &[u64], effort: Effort) -> Option<Range<usize>> {
    let mut begin = 0;
    while begin < places.len() {
        let end = segment_end(places, barriers, begin);
        if let Some(found) = in_segment(places, begin..end, effort) {
            return Some(found);
        }
        begin = end;
    }
    None
}

/// Where the places that no barrier parts from the one at `begin` end.
fn segment_end(places: &[Place], barriers: &[u64], begin: usize) -> usize {
    let order = |index: usize| places.get(index).map(|place| place.order.0);
    let Some(first) = order(begin) else {
        return places.len();
    };
    let Some(barrier) = barriers.iter().copied().find(|barrier| *barrier > first) else {
        return places.len();
    };
    (begin..places.len())
        .find(|index| order(*index).is_some_and(|order| order >= barrier))
        .unwrap_or(places.len())
}

fn in_segment(places: &[Place], segment: Range<usize>, effort: Effort) -> Option<Range<usize>> {
    // The oldest come first: the next look finds what is left. Where as many as one command replaces cannot
    // be made fewer, later ones may.
    (segment.start..segment.end)
        .step_by(COMPACT_ROWS_MAX / 2)
        .map(|start| start..segment.end.min(start + COMPACT_ROWS_MAX))
        .find_map(|window| in_window(places, window, effort))
}

fn in_window(places: &[Place], whole: Range<usize>, effort: Effort) -> Option<Range<usize>> {
    match effort {
        Effort::All => (saved(places, &whole) > 0).then_some(whole),
        Effort::Enough => {
            let pays = |found: &Range<usize>| saved(places, found) * 2 >= found.len();
            // Of those that do not pay together, the last ones may.
            let mut small = small_ones(places, whole.clone());
            while small.len() >= COMPACT_ROWS_MIN {
                if pays(&small) {
                    return Some(small);
                }
                small.start += small.len() / 2;
            }
            (whole.len() >= COMPACT_WHOLE_ROWS && pays(&whole)).then_some(whole)
        }
    }
}

/// The most of the last places of which none is longer than a quarter of all; none if there are too few.
fn small_ones(places: &[Place], range: Range<usize>) -> Range<usize> {
    let (mut sum, mut longest) = (0_u64, 0_u64);
    let mut begin = range.end;
    for index in range.clone().rev() {
        let len = places.get(index).map_or(0, |place| u64::from(place.len));
        sum += len;
        longest = longest.max(len);
        if longest * GROWTH <= sum {
            begin = index;
        }
    }
    begin..range.end
}

/// How many fewer they would be.
fn saved(places: &[Place], range: &Range<usize>) -> usize {
    let found = places.get(range.clone()).unwrap_or_default();
    let count = runs(
        found
            .iter()
            .map(|place| place.at..place.at.saturating_add(place.len)),
    )
    .len();
    found.len().saturating_sub(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMPACT_LOOK_EVERY;
    use proptest::prelude::*;

    fn place(order: u64, at: u32, len: u32) -> Place {
        Place {
            order: SliceOrder(order),
            at,
            len,
        }
    }

    fn in_a_row(count: u64, len: u32) -> Vec<Place> {
        (0..count)
            .map(|order| place(order, u32::try_from(order).expect("few") * len, len))
            .collect()
    }

    #[test]
    fn few_slices_are_left_alone_unless_all_is_asked_for() {
        let places = in_a_row(COMPACT_ROWS_MIN as u64 - 1, 10);
        assert_eq!(plan(&places, &[], Effort::Enough), None);
        assert_eq!(plan(&places, &[], Effort::All), Some(0..places.len()));
        let apart: Vec<Place> = (0..100)
            .map(|order| place(order, order as u32 * 20, 10))
            .collect();
        assert_eq!(plan(&apart, &[], Effort::All), None, "none can go");
    }

    #[test]
    fn a_large_slice_is_not_written_anew_for_small_ones() {
        let mut places = vec![place(0, 0, 1 << 20)];
        places.extend((1..40).map(|order| place(order, 1 << 20, 10)));
        assert_eq!(plan(&places, &[], Effort::Enough), Some(1..40));
    }

    #[test]
    fn small_slices_over_a_large_one_are_put_into_it_when_they_are_many() {
        let over = |count: u64| {
            let mut places = vec![place(0, 0, 1 << 20)];
            places.extend((1..count).map(|order| place(order, order as u32 * 100, 10)));
            places
        };
        assert_eq!(
            plan(&over(COMPACT_WHOLE_ROWS as u64 - 1), &[], Effort::Enough),
            None
        );
        let many = over(COMPACT_WHOLE_ROWS as u64);
        assert_eq!(plan(&many, &[], Effort::Enough), Some(0..many.len()));
    }

    #[test]
    fn what_cannot_be_made_fewer_does_not_hide_what_can() {
        let mut places: Vec<Place> = (0..5000)
            .map(|order| place(order, order as u32 * 20, 10))
            .collect();
        places.extend((5000..5100).map(|order| place(order, 200_000 + order as u32 * 10, 10)));
        for effort in [Effort::All, Effort::Enough] {
            let found = plan(&places, &[], effort).expect("the last hundred");
            assert!(found.end > 5000, "{found:?}");
        }
    }

    #[test]
    fn no_barrier_lies_inside() {
        let places = in_a_row(100, 10);
        assert_eq!(plan(&places, &[60], Effort::Enough), Some(0..60));
        assert_eq!(plan(&places, &[3], Effort::Enough), Some(3..100));
        let many: Vec<u64> = (0..100).collect();
        assert_eq!(plan(&places, &many, Effort::All), None);
    }

    /// A chunk that is filled by small appends, and looked at as often as it is marked.
    #[test]
    fn bytes_are_written_anew_a_few_times_while_a_chunk_is_filled() {
        let (mut places, mut written) = (Vec::new(), 0_u64);
        let count = 4096;
        for order in 0..count {
            places.push(place(order, order as u32 * 16, 16));
            if order % COMPACT_LOOK_EVERY != COMPACT_LOOK_EVERY - 1 {
                continue;
            }
            while let Some(found) = plan(&places, &[], Effort::Enough) {
                let (first, last) = (places[found.start], places[found.end - 1]);
                let len = last.at + last.len - first.at;
                written += u64::from(len);
                places.splice(found, [place(last.order.0, first.at, len)]);
            }
        }
        assert!(
            places.len() <= 4 * COMPACT_ROWS_MIN,
            "{} slices",
            places.len()
        );
        let times = written as f64 / (count as f64 * 16.0);
        assert!(times < 6.0, "each byte was written anew {times} times");
    }

    proptest! {
        #[test]
        fn what_is_planned_makes_slices_fewer(
            parts in prop::collection::vec((0u32..2000, 1u32..50, 1u64..4), 0..300),
            mut barriers in prop::collection::vec(0u64..600, 0..6),
            all in any::<bool>(),
        ) {
            barriers.sort_unstable();
            let mut order = 0;
            let places: Vec<Place> = parts
                .iter()
                .map(|(at, len, step)| {
                    order += step;
                    place(order, *at, *len)
                })
                .collect();
            let effort = if all { Effort::All } else { Effort::Enough };
            if let Some(found) = plan(&places, &barriers, effort) {
                prop_assert!(found.len() <= COMPACT_ROWS_MAX);
                prop_assert!(saved(&places, &found) > 0);
                let (first, last) = (places[found.start].order.0, places[found.end - 1].order.0);
                prop_assert!(!barriers.iter().any(|order| (first + 1..=last).contains(order)));
            }
        }

        #[test]
        fn runs_are_what_painting_gives(
            parts in prop::collection::vec((0u32..60, 0u32..20), 0..12),
        ) {
            let mut painted = [false; 100];
            for (at, len) in &parts {
                for byte in *at..at + len {
                    painted[byte as usize] = true;
                }
            }
            let found = runs(parts.iter().map(|(at, len)| *at..at + len));
            for pair in found.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
            let mut shown = [false; 100];
            for byte in found.into_iter().flatten() {
                shown[byte as usize] = true;
            }
            prop_assert_eq!(painted, shown);
        }
    }
}
