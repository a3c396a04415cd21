//! Few slices in the place of many: the hand for what the engine plans.
//!
//! The engine says which slices of a chunk are to be replaced. Their visible bytes are read, each frame
//! checked as always, written anew as one slice for each run that they cover, and the engine puts those in
//! their place if nothing changed meanwhile. What cannot be read is never replaced.

use super::grants::{Grants, Lot};
use super::meta::Meta;
use super::upload::know_epoch_of;
use super::{MetaApi, Stats, VfsError};
use bytes::{Bytes, BytesMut};
use chunk_store::{ChunkError, SliceStore};
use futures::{StreamExt, TryStreamExt};
use meta_core::attr::Caller;
use meta_core::chunk::resolve;
use meta_core::command::{NewSlice, Operation};
use meta_core::compaction::{Compact, Effort, runs, seen};
use meta_core::ids::{ChunkIndex, Ino, SliceId, SliceOrder};
use meta_core::limits::{CHUNK_BYTES, FRAME_BYTES};
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, QueryBody, Slice};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Replacements of one chunk that are refused in a row, or whose outcome is not known, before it is left as
/// it is.
const ATTEMPTS: u32 = 5;
/// Plans for one chunk. Each makes its slices fewer, so that only one that is written to faster than it is
/// compacted comes to this.
const PLANS_MAX: u32 = 4096;
/// A run is read and handed on by pieces of this size, so that none needs much memory.
const WINDOW_BYTES: u32 = 1 << 20;
/// Reads of one window at a time.
const FETCHES: usize = 8;
/// Runs of one chunk that are written at a time: of many small ones, each waits for the store.
const RUNS_AT_ONCE: usize = 4;
/// Bytes between two pieces of a slice up to which both are read as one: most of what lies between would be
/// read anyway, since frames are read whole.
const GAP_BYTES: u32 = FRAME_BYTES;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compacted {
    /// Chunks whose slices are fewer now.
    pub chunks: u64,
    /// Slices that were replaced.
    pub slices_before: u64,
    /// Slices that are in their place.
    pub slices_after: u64,
    /// Bytes written anew.
    pub bytes: u64,
}

impl Compacted {
    /// Takes in what was done elsewhere.
    pub fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.slices_before += other.slices_before;
        self.slices_after += other.slices_after;
        self.bytes += other.bytes;
    }

    /// Notes a replacement in a chunk. What the same work has `made` and replaces again counts once.
    fn note(&mut self, old: &[Slice], new: &[NewSlice], made: &mut BTreeSet<SliceId>) {
        let own = old.iter().filter(|slice| made.remove(&slice.id)).count() as u64;
        self.chunks = 1;
        self.slices_before += (old.len() as u64).saturating_sub(own);
        self.slices_after = (self.slices_after + new.len() as u64).saturating_sub(own);
        self.bytes += new.iter().map(|slice| u64::from(slice.len)).sum::<u64>();
        made.extend(new.iter().map(|slice| slice.id));
    }
}

/// Why a chunk's slices are not made fewer. What the chunk holds stays the same in any case.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompactError {
    /// The engine refuses, or cannot be asked.
    #[error(transparent)]
    Meta(#[from] VfsError),
    /// Others change the slices as fast as they are made fewer.
    #[error("its slices change as fast as they are made fewer")]
    Changing,
    /// What is stored of a slice cannot be had, or is not what was written.
    #[error("slice {slice} cannot be read: {error}")]
    Unreadable {
        /// The slice.
        slice: SliceId,
        /// Why not.
        error: ChunkError,
    },
    /// The object store does not take the new slices.
    #[error("new slices cannot be stored: {0}")]
    Unstored(ChunkError),
    /// The engine's plan cannot be.
    #[error("the metadata service plans what cannot be done: {0}")]
    BadPlan(&'static str),
}

impl CompactError {
    /// Whether the file is gone, and with it what there was to do.
    pub fn is_gone(&self) -> bool {
        let gone = [Refusal::Stale, Refusal::NotFound];
        matches!(self, Self::Meta(VfsError::Refused(refusal)) if gone.contains(refusal))
    }

    /// Whether it says nothing of other chunks.
    pub fn is_of_chunk(&self) -> bool {
        let all = [
            Refusal::NotSupported,
            Refusal::NotPermitted,
            Refusal::Mirror,
        ];
        match self {
            Self::Changing | Self::Unreadable { .. } | Self::BadPlan(_) => true,
            Self::Meta(VfsError::Refused(refusal)) => !all.contains(refusal),
            Self::Meta(_) | Self::Unstored(_) => false,
        }
    }

    /// Whether the same may be planned and done again: it was not done, or that is not known. If it was,
    /// or will be, the engine refuses a second one that was planned before.
    fn may_repeat(&self) -> bool {
        let passing = [Refusal::Changed, Refusal::GrantRevoked];
        match self {
            Self::Meta(VfsError::Refused(refusal)) => passing.contains(refusal),
            Self::Meta(VfsError::SessionLost(_) | VfsError::Unknown(_)) => true,
            _ => false,
        }
    }
}

/// Makes the slices of chunks fewer, in one session.
#[derive(Debug)]
pub struct Compactor {
    meta: Meta,
    grants: Grants,
    slices: SliceStore,
    stats: Arc<Stats>,
}

impl Compactor {
    /// One that works in a session, over the volume's blocks.
    pub fn new(meta: Arc<dyn MetaApi>, slices: SliceStore, stats: Arc<Stats>) -> Self {
        let meta = Meta::new(meta);
        Self {
            grants: Grants::new(meta.clone()),
            meta,
            slices,
            stats,
        }
    }

    /// Makes the slices of a chunk fewer until there is nothing more to do, and adds to `done` what was
    /// done, also if an error ends it. Dropped early, it leaves the chunk in one of its states. Must be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// [`CompactError`]. The engine says [`Refusal::NotSupported`] on a volume of a level without
    /// compaction, and [`VfsError::NotUnderstood`] if it is of a version without it.
    pub async fn compact(
        &self,
        ino: Ino,
        chunk: ChunkIndex,
        effort: Effort,
        done: &mut Compacted,
    ) -> Result<(), CompactError> {
        // What pays comes first: without it, a large slice would be written anew with every thousand of
        // small ones behind it.
        let efforts: &[Effort] = match effort {
            Effort::Enough => &[Effort::Enough],
            Effort::All => &[Effort::Enough, Effort::All],
        };
        let mut own = Compacted::default();
        let mut result = Ok(());
        for effort in efforts {
            result = self.work((ino, chunk), *effort, &mut own).await;
            if result.is_err() {
                break;
            }
        }
        let is_left = result.as_ref().is_err_and(|error| !error.is_gone());
        self.stats.count_compaction(own, is_left);
        done.add(own);
        result
    }

    async fn work(
        &self,
        at: (Ino, ChunkIndex),
        effort: Effort,
        own: &mut Compacted,
    ) -> Result<(), CompactError> {
        let mut made = BTreeSet::new();
        let mut refused = 0;
        for _ in 0..PLANS_MAX {
            let old = self.plan(at, effort).await?;
            if old.is_empty() {
                return Ok(());
            }
            let error = match self.replace(at, &old).await {
                Ok(new) => {
                    refused = 0;
                    own.note(&old, &new, &mut made);
                    continue;
                }
                Err(error) => error,
            };
            refused += 1;
            if !error.may_repeat() {
                return Err(error);
            }
            if refused == ATTEMPTS {
                let is_changed = error == CompactError::Meta(Refusal::Changed.into());
                return Err(if is_changed {
                    CompactError::Changing
                } else {
                    error
                });
            }
            tracing::debug!(ino = at.0.0, chunk = at.1.0, %error, "a compaction is planned again");
        }
        Err(CompactError::Changing)
    }

    /// The slices that are to be replaced, oldest first; none if there is nothing to do.
    async fn plan(
        &self,
        (ino, chunk): (Ino, ChunkIndex),
        effort: Effort,
    ) -> Result<Vec<Slice>, CompactError> {
        let body = QueryBody::PlanCompaction { ino, chunk, effort };
        match self.meta.query(&Caller::root(), body).await? {
            Answer::Compaction(slices) => Ok(slices),
            _ => Err(VfsError::Unexpected("slices to compact").into()),
        }
    }

    /// Puts new slices in the place of old ones.
    async fn replace(
        &self,
        (ino, chunk): (Ino, ChunkIndex),
        old: &[Slice],
    ) -> Result<Vec<NewSlice>, CompactError> {
        let (first, last) = match old {
            [first, .., last] => (first.order, last.order),
            _ => return Err(CompactError::BadPlan("it replaces a single slice")),
        };
        let runs = checked_runs(chunk, old)?;
        let stored: Vec<(NewSlice, Lot)> = futures::stream::iter(runs)
            .map(|run| self.store(chunk, old, run))
            .buffered(RUNS_AT_ONCE)
            .try_collect()
            .await?;
        let (slices, lots): (Vec<NewSlice>, Vec<Lot>) = stored.into_iter().unzip();
        let operation = Operation::Compact(Compact {
            ino,
            chunk,
            first,
            last,
            seen: seen(old),
            slices: slices.clone(),
        });
        // Blocks that were stored for a replacement that is refused are of no file. They are found and
        // deleted as those of a mount that ended in the middle are; the ids are never used again.
        match self.meta.execute(&Caller::root(), operation).await {
            Ok(Success::Done) => Ok(slices),
            Ok(_) => Err(VfsError::Unexpected("replaced slices").into()),
            Err(error @ VfsError::Refused(Refusal::Changed)) => Err(error.into()),
            Err(error) => {
                // The ids may have gone with their session.
                for lot in lots {
                    self.grants.revoke(lot).await;
                }
                Err(error.into())
            }
        }
    }

    /// Writes what shows in a run of old slices as a new one.
    async fn store(
        &self,
        chunk: ChunkIndex,
        old: &[Slice],
        run: Range<u32>,
    ) -> Result<(NewSlice, Lot), CompactError> {
        let (id, lot) = self.grants.take().await?;
        know_epoch_of(&self.slices, &self.meta, id).await?;
        let mut upload = self.slices.upload(id);
        let mut at = run.start;
        while at < run.end {
            let end = run.end.min(at.saturating_add(WINDOW_BYTES));
            let bytes = self.read(old, at..end).await?;
            upload.push(bytes).await.map_err(CompactError::Unstored)?;
            at = end;
        }
        let uploaded = upload.finish().await.map_err(CompactError::Unstored)?;
        if uploaded.len != run.end - run.start {
            return Err(CompactError::Unstored(ChunkError::BadLength));
        }
        let slice = NewSlice {
            chunk,
            at: run.start,
            id,
            len: uploaded.len,
            frame_crcs: uploaded.frame_crcs,
        };
        Ok((slice, lot))
    }

    /// What shows in a part of a run.
    async fn read(&self, old: &[Slice], window: Range<u32>) -> Result<Bytes, CompactError> {
        let fetches = fetches(old, &window)?;
        let whole = window.end - window.start;
        if let [only] = fetches.as_slice()
            && only.len == whole
        {
            return self.fetch(old, only).await;
        }
        let mut out = BytesMut::zeroed(whole as usize);
        let mut fetched = futures::stream::iter(fetches)
            .map(|fetch| async move {
                let bytes = self.fetch(old, &fetch).await?;
                Ok::<_, CompactError>((fetch, bytes))
            })
            .buffer_unordered(FETCHES);
        while let Some((fetch, bytes)) = fetched.try_next().await? {
            for part in fetch.parts {
                let (to, from) = (part.to as usize, (part.off - fetch.off) as usize);
                let len = part.len as usize;
                out[to..to + len].copy_from_slice(&bytes[from..from + len]);
            }
        }
        drop(fetched);
        Ok(out.freeze())
    }

    async fn fetch(&self, old: &[Slice], fetch: &Fetch) -> Result<Bytes, CompactError> {
        let slice = &old[fetch.slice];
        know_epoch_of(&self.slices, &self.meta, slice.id).await?;
        let read = self.slices.read(slice, fetch.off, fetch.len).await;
        let unreadable = |error| CompactError::Unreadable {
            slice: slice.id,
            error,
        };
        match read {
            Ok(bytes) if bytes.len() == fetch.len as usize => Ok(bytes),
            Ok(_) => Err(unreadable(ChunkError::BadLength)),
            Err(error) => Err(unreadable(error)),
        }
    }
}

/// Bytes of one old slice that are read at once.
#[derive(Debug)]
struct Fetch {
    /// Which of the old ones.
    slice: usize,
    /// Where it begins in the uploaded slice.
    off: u32,
    len: u32,
    /// What of it shows, by rising place.
    parts: Vec<Part>,
}

/// A piece of a window.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Where it goes in the window.
    to: u32,
    /// Where it begins in the uploaded slice.
    off: u32,
    len: u32,
}

impl Fetch {
    /// Takes in a part that lies behind the others, if it is near enough.
    fn take(&mut self, part: Part) -> bool {
        let end = self.off.saturating_add(self.len);
        let is_near = part.off >= end && part.off - end <= GAP_BYTES;
        if is_near {
            self.len = part.off.saturating_add(part.len) - self.off;
            self.parts.push(part);
        }
        is_near
    }
}

/// Which bytes of which old slices make up a part of a run.
fn fetches(old: &[Slice], window: &Range<u32>) -> Result<Vec<Fetch>, CompactError> {
    let mut all: Vec<Fetch> = Vec::new();
    let mut newest: BTreeMap<usize, usize> = BTreeMap::new();
    for piece in resolve(old, window.clone()) {
        // The zeros of what nobody wrote would hide what lies below.
        let Some((slice, off)) = piece.data else {
            return Err(CompactError::BadPlan("a run has a hole"));
        };
        let part = Part {
            to: piece.at - window.start,
            off,
            len: piece.len,
        };
        let near = newest.get(&slice).and_then(|index| all.get_mut(*index));
        if near.is_some_and(|fetch| fetch.take(part)) {
            continue;
        }
        newest.insert(slice, all.len());
        all.push(Fetch {
            slice,
            off,
            len: piece.len,
            parts: vec![part],
        });
    }
    Ok(all)
}

/// The runs that old slices cover, if they can be what the engine has planned.
fn checked_runs(chunk: ChunkIndex, old: &[Slice]) -> Result<Vec<Range<u32>>, CompactError> {
    // Which slice lies over which is told by how they are listed.
    let rises = |two: &[Slice]| matches!(two, [lower, upper] if lower.order < upper.order);
    if !old.windows(2).all(rises) {
        return Err(CompactError::BadPlan("slices are out of order"));
    }
    let fits = |slice: &Slice| {
        slice.chunk == chunk && u64::from(slice.at) + u64::from(slice.len) <= CHUNK_BYTES
    };
    if !old.iter().all(fits) {
        return Err(CompactError::BadPlan("slices are not in the chunk"));
    }
    let mut found = runs(old.iter().map(|slice| slice.at..slice.at + slice.len));
    // New slices get the highest old orders, in the order in which they are listed. So each gets one that is
    // not lower than any that it covers: who reads the chunk in pages meets it behind them, and not before.
    found.sort_by_cached_key(|run| highest(old, run));
    if found.is_empty() || found.len() >= old.len() {
        return Err(CompactError::BadPlan("slices would not be fewer"));
    }
    Ok(found)
}

/// The highest order of the old slices in a run.
fn highest(old: &[Slice], run: &Range<u32>) -> Option<SliceOrder> {
    let inside = |slice: &&Slice| run.contains(&slice.at);
    old.iter().filter(inside).map(|slice| slice.order).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: ChunkIndex = ChunkIndex(3);

    fn slice(order: u64, at: u32, len: u32) -> Slice {
        Slice {
            chunk: CHUNK,
            order: SliceOrder(order),
            id: SliceId(order),
            size: len,
            off: 0,
            len,
            at,
            frame_crcs: Vec::new(),
        }
    }

    fn new(id: u64, len: u32) -> NewSlice {
        NewSlice {
            chunk: CHUNK,
            at: 0,
            id: SliceId(id),
            len,
            frame_crcs: Vec::new(),
        }
    }

    #[test]
    fn a_slice_with_others_over_it_is_read_once_where_they_are_small() {
        let old = [
            slice(1, 0, 1 << 20),
            slice(2, 1000, 100),
            slice(3, 500_000, 200_000),
        ];
        let found = fetches(&old, &(0..800_000)).expect("covered");
        let shape: Vec<_> = found
            .iter()
            .map(|fetch| (fetch.slice, fetch.off, fetch.len, fetch.parts.len()))
            .collect();
        let expected = [
            (0, 0, 500_000, 2),
            (1, 0, 100, 1),
            (2, 0, 200_000, 1),
            (0, 700_000, 100_000, 1),
        ];
        assert_eq!(shape, expected);
        let later = fetches(&old, &(600_000..600_001)).expect("covered");
        assert_eq!(
            (later[0].slice, later[0].off, later[0].parts[0].to),
            (2, 100_000, 0)
        );
    }

    #[test]
    fn nothing_is_read_where_nothing_was_written() {
        let old = [slice(1, 0, 100), slice(2, 200, 100)];
        let found = fetches(&old, &(50..250));
        assert_eq!(found.err(), Some(CompactError::BadPlan("a run has a hole")));
    }

    #[test]
    fn a_plan_that_cannot_be_is_refused() {
        let of = |old: &[Slice]| checked_runs(CHUNK, old);
        let good = [slice(1, 0, 10), slice(2, 10, 10), slice(3, 30, 5)];
        assert_eq!(of(&good).expect("a plan"), [0..20, 30..35]);
        let elsewhere = Slice {
            chunk: ChunkIndex(0),
            ..slice(2, 10, 10)
        };
        for bad in [
            vec![slice(2, 0, 10), slice(1, 10, 10)],
            vec![slice(1, 0, 10), slice(1, 10, 10)],
            vec![slice(1, 0, 10), elsewhere],
            vec![slice(1, 0, 10), slice(2, u32::MAX, 10)],
            vec![slice(1, 0, 10), slice(2, 20, 10)],
            vec![],
        ] {
            let refused = of(&bad);
            assert!(matches!(refused, Err(CompactError::BadPlan(_))), "{bad:?}");
        }
    }

    #[test]
    fn new_slices_take_orders_that_are_not_below_what_they_cover() {
        // The last write of all lies where the chunk begins.
        let old = [
            slice(1, 100, 10),
            slice(2, 50, 10),
            slice(3, 105, 10),
            slice(4, 0, 10),
        ];
        let found = checked_runs(CHUNK, &old).expect("fewer");
        assert_eq!(found, [50..60, 100..115, 0..10]);
        let kept = &old[old.len() - found.len()..];
        for (run, kept) in found.iter().zip(kept) {
            assert!(Some(kept.order) >= highest(&old, run), "{run:?}");
        }
    }

    #[test]
    fn what_is_replaced_twice_counts_once() {
        let (mut made, mut done) = (BTreeSet::new(), Compacted::default());
        let first: Vec<Slice> = (1..=10).map(|order| slice(order, 0, 10)).collect();
        done.note(&first, &[new(100, 50), new(101, 50)], &mut made);
        let second = [slice(100, 0, 50), slice(101, 60, 50), slice(11, 50, 10)];
        done.note(&second, &[new(102, 110)], &mut made);
        let expected = Compacted {
            chunks: 1,
            slices_before: 11,
            slices_after: 1,
            bytes: 210,
        };
        assert_eq!(done, expected);
        let mut sum = done;
        sum.add(done);
        assert_eq!((sum.chunks, sum.slices_before, sum.bytes), (2, 22, 420));
    }

    #[test]
    fn errors_say_what_else_they_hold_up() {
        let refused = |refusal: Refusal| CompactError::Meta(refusal.into());
        let damaged = CompactError::Unreadable {
            slice: SliceId(7),
            error: ChunkError::BadLength,
        };
        for error in [damaged, CompactError::Changing, refused(Refusal::Stale)] {
            assert!(error.is_of_chunk(), "{error}");
            assert!(!error.may_repeat(), "{error}");
        }
        for error in [
            CompactError::Unstored(ChunkError::BadLength),
            refused(Refusal::NotSupported),
            CompactError::Meta(VfsError::NotUnderstood("old".into())),
        ] {
            assert!(!error.is_of_chunk() && !error.may_repeat(), "{error}");
        }
        assert!(refused(Refusal::Stale).is_gone() && !refused(Refusal::Changed).is_gone());
        for error in [
            refused(Refusal::Changed),
            refused(Refusal::GrantRevoked),
            CompactError::Meta(VfsError::Unknown("lost".into())),
        ] {
            assert!(error.may_repeat(), "{error}");
        }
    }
}
