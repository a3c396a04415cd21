//! Reading: which frames a range needs, which of them are in memory, and one request for each run
//! of those that are not.

use crate::error::{ChunkError, ObjectError};
use crate::frame::frames;
use crate::retry::RetryBudget;
use crate::slice_store::Shared;
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use meta_core::ids::SliceId;
use meta_core::limits::{CHUNK_BYTES, FRAME_BYTES};
use meta_core::query::Slice;
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};
use std::ops::Range;
use std::time::Duration;

/// A frame of a slice, by its number in it.
type FrameKey = (SliceId, u32);
/// Verified frames. Each is a buffer of its own, or a small frame would keep the whole request's
/// bytes in memory and the cache's bound would mean nothing.
pub(crate) type FrameCache = Cache<FrameKey, Bytes, ByBytes>;
/// The right and the duty to bring one frame: others who want it wait for the guard's end.
type Guard<'a> = PlaceholderGuard<
    'a,
    FrameKey,
    Bytes,
    ByBytes,
    DefaultHashBuilder,
    DefaultLifecycle<FrameKey, Bytes>,
>;

/// What a frame costs beside its bytes.
const FRAME_OVERHEAD: u64 = 128;

#[derive(Clone, Debug)]
pub(crate) struct ByBytes;

impl Weighter<FrameKey, Bytes> for ByBytes {
    fn weight(&self, _: &FrameKey, data: &Bytes) -> u64 {
        data.len() as u64 + FRAME_OVERHEAD
    }
}

pub(crate) fn frame_cache(memory_bytes: usize) -> FrameCache {
    let frames = memory_bytes / FRAME_BYTES as usize;
    Cache::with_weighter(frames.max(16), memory_bytes as u64, ByBytes)
}

/// Neighbouring frames and their bytes.
struct Run {
    first: u32,
    data: Bytes,
}

/// One block of a slice that is read.
struct Block<'a> {
    shared: &'a Shared,
    slice: &'a Slice,
    budget: &'a RetryBudget,
    key: String,
    /// Where it begins in the slice.
    begin: u32,
    /// Its bytes.
    size: u32,
}

pub(crate) async fn read(
    shared: &Shared,
    slice: &Slice,
    off: u32,
    len: u32,
) -> Result<Bytes, ChunkError> {
    let refused = |why| ChunkError::BadSlice {
        slice: slice.id.0,
        why,
    };
    if u64::from(slice.size) > CHUNK_BYTES
        || slice.size.div_ceil(FRAME_BYTES) as usize != slice.frame_crcs.len()
    {
        return Err(refused("its size and the number of its crcs do not agree"));
    }
    let end = off.checked_add(len).filter(|end| *end <= slice.size);
    let end = end.ok_or_else(|| refused("the range is not in it"))?;
    if len == 0 {
        return Ok(Bytes::new());
    }
    let budget = RetryBudget::new(shared.limits.retry_for);
    let wanted = off / FRAME_BYTES..end.div_ceil(FRAME_BYTES);
    let block_frames = (shared.block_bytes / FRAME_BYTES).max(1);
    let blocks = wanted.start / block_frames..wanted.end.div_ceil(block_frames);
    let parts = blocks.map(|index| {
        let (wanted, budget) = (wanted.clone(), &budget);
        async move {
            let block = Block::of(shared, slice, budget, index)?;
            let inside = index * block_frames..(index + 1) * block_frames;
            let part = wanted.start.max(inside.start)..wanted.end.min(inside.end);
            block.frames(part).await
        }
    });
    let parts = try_join_all(parts).await?;
    let from = (off - wanted.start * FRAME_BYTES) as usize;
    Ok(cut(parts.into_iter().flatten(), from, len as usize))
}

impl<'a> Block<'a> {
    fn of(
        shared: &'a Shared,
        slice: &'a Slice,
        budget: &'a RetryBudget,
        index: u32,
    ) -> Result<Self, ChunkError> {
        let begin = index * shared.block_bytes;
        let size = shared.block_bytes.min(slice.size - begin);
        Ok(Self {
            key: shared.block_key(slice.id, index, size)?,
            shared,
            slice,
            budget,
            begin,
            size,
        })
    }

    /// Verified frames, in order. Concurrent readers of one frame share one request.
    async fn frames(&self, wanted: Range<u32>) -> Result<Vec<Run>, ChunkError> {
        let cache = &self.shared.frames;
        let (mut found, mut mine, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for frame in wanted {
            // No waiting here: while this reader holds guards it must wait for nobody, or two
            // readers could wait for each other.
            match cache.get_value_or_guard(&(self.slice.id, frame), Some(Duration::ZERO)) {
                GuardResult::Value(data) => found.push(Run { first: frame, data }),
                GuardResult::Guard(guard) => mine.push((frame, guard)),
                GuardResult::Timeout => others.push(frame),
            }
        }
        let brought = neighbours(mine).into_iter().map(|run| self.bring(run));
        found.extend(try_join_all(brought).await?);
        for frame in others {
            let key = (self.slice.id, frame);
            found.push(match cache.get_value_or_guard_async(&key).await {
                Ok(data) => Run { first: frame, data },
                // The other reader failed or went away: it is this one's turn.
                Err(guard) => self.bring(vec![(frame, guard)]).await?,
            });
        }
        found.sort_unstable_by_key(|run| run.first);
        Ok(found)
    }

    /// Brings neighbouring frames and leaves them in memory.
    async fn bring(&self, wanted: Vec<(u32, Guard<'_>)>) -> Result<Run, ChunkError> {
        let first = wanted.first().map_or(0, |(frame, _)| *frame);
        let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let data = self.fetch(first..first.saturating_add(count)).await?;
        for ((_, guard), frame) in wanted.into_iter().zip(frames(&data)) {
            // It is refused only by a cache that was cleared meanwhile, and waiters get it anyway.
            let _kept = guard.insert(Bytes::copy_from_slice(frame));
        }
        Ok(Run { first, data })
    }

    /// Reads frames from the store until they are what was written, or it is clear that they are
    /// not to be had.
    async fn fetch(&self, wanted: Range<u32>) -> Result<Bytes, ChunkError> {
        let mut attempt = 1;
        let mut suspect = false;
        loop {
            let error = match self.fetch_once(wanted.clone()).await {
                Ok(data) => return Ok(data),
                Err(error) => error,
            };
            match self.budget.pause(attempt) {
                None => return Err(given_up(error, attempt)),
                Some(pause) => {
                    // A wrong answer may have been hurt on its way, or come from a stale
                    // directory cache: it is asked for once more. The second one is believed.
                    if !may_pass(&error) && std::mem::replace(&mut suspect, true) {
                        return Err(error);
                    }
                    tracing::warn!(attempt, %error, "a read is tried again");
                    tokio::time::sleep(pause).await;
                }
            }
            attempt += 1;
        }
    }

    async fn fetch_once(&self, wanted: Range<u32>) -> Result<Bytes, ChunkError> {
        let from = wanted.start * FRAME_BYTES - self.begin;
        let to = (wanted.end * FRAME_BYTES - self.begin).min(self.size);
        let permit = self.shared.downloads.acquire().await;
        let permit = permit.expect("the semaphore is never closed");
        let range = u64::from(from)..u64::from(to);
        let data = self.shared.store.get(&self.key, range).await?;
        drop(permit);
        if data.len() != (to - from) as usize {
            return Err(ChunkError::Object(ObjectError::Short {
                key: self.key.clone(),
                wanted: u64::from(to),
                have: u64::from(from) + data.len() as u64,
            }));
        }
        for (frame, bytes) in wanted.zip(frames(&data)) {
            if self.slice.frame_crcs.get(frame as usize) != Some(&crc32fast::hash(bytes)) {
                return Err(ChunkError::Damaged {
                    key: self.key.clone(),
                    slice: self.slice.id.0,
                    frame,
                });
            }
        }
        Ok(data)
    }
}

fn may_pass(error: &ChunkError) -> bool {
    matches!(error, ChunkError::Object(error) if error.may_pass())
}

fn given_up(error: ChunkError, attempts: u32) -> ChunkError {
    match error {
        ChunkError::Object(last) if last.may_pass() => ChunkError::GaveUp { attempts, last },
        error => error,
    }
}

/// Ascending frames, parted where one is missing between them.
fn neighbours<T>(frames: Vec<(u32, T)>) -> Vec<Vec<(u32, T)>> {
    let mut runs: Vec<Vec<(u32, T)>> = Vec::new();
    for (frame, what) in frames {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|(last, _)| last + 1 == frame) => {
                run.push((frame, what));
            }
            _ => runs.push(vec![(frame, what)]),
        }
    }
    runs
}

/// `len` bytes from `from` on of consecutive runs.
fn cut(runs: impl Iterator<Item = Run>, mut from: usize, len: usize) -> Bytes {
    let mut all = BytesMut::new();
    for run in runs {
        let begin = from.min(run.data.len());
        let end = run.data.len().min(begin + len - all.len());
        if all.is_empty() && end - begin == len {
            return run.data.slice(begin..end);
        }
        if all.is_empty() {
            all.reserve(len);
        }
        all.extend_from_slice(&run.data[begin..end]);
        from -= begin;
    }
    all.freeze()
}

#[cfg(test)]
#[path = "read_test.rs"]
mod tests;
