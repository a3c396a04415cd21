//! Slices in an object store: up through [`SliceUpload`], down by verified frames.

use crate::error::{ChunkError, ObjectError};
use crate::key::VolumeKeys;
use crate::object::ObjectStore;
use crate::upload::SliceUpload;
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use meta_core::ids::SliceId;
use meta_core::limits::FRAME_BYTES;
use meta_core::query::Slice;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Frames are read and cached in groups of this many: one request for 1 MiB rather than sixteen.
const GROUP_FRAMES: u32 = 16;

/// Bounds on what a volume's data may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Blocks on their way up at once.
    pub uploads: usize,
    /// Reads from the store at once.
    pub downloads: usize,
    /// Bytes of verified data kept in memory.
    pub memory_bytes: usize,
    /// How long an upload that fails is tried again.
    pub retry_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uploads: 20,
            downloads: 64,
            memory_bytes: 256 << 20,
            retry_for: Duration::from_secs(60),
        }
    }
}

/// A group of verified frames: slice, and the group's number in it.
type GroupKey = (SliceId, u32);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<GroupKey, Bytes> for ByBytes {
    fn weight(&self, _: &GroupKey, data: &Bytes) -> u64 {
        data.len() as u64
    }
}

/// What all uploads and reads of a volume share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) block_bytes: u32,
    pub(crate) limits: Limits,
    pub(crate) uploads: Arc<Semaphore>,
    keys: VolumeKeys,
    downloads: Semaphore,
    cache: Cache<GroupKey, Bytes, ByBytes>,
}

impl Shared {
    pub(crate) fn block_key(
        &self,
        slice: SliceId,
        index: u32,
        size: u32,
    ) -> Result<String, ChunkError> {
        self.keys
            .block(slice, index, size)
            .map(|key| key.to_string())
            .ok_or(ChunkError::BadSlice {
                slice: slice.0,
                why: "its epoch is not one of the volume's",
            })
    }
}

/// The slices of a volume. Clones share all bounds.
#[derive(Clone, Debug)]
pub struct SliceStore(Arc<Shared>);

impl SliceStore {
    /// Slices under a volume's names. `block_bytes` is a multiple of 64 KiB.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        keys: VolumeKeys,
        block_bytes: u32,
        limits: Limits,
    ) -> Self {
        let groups = (limits.memory_bytes / (GROUP_FRAMES * FRAME_BYTES) as usize).max(16);
        Self(Arc::new(Shared {
            store,
            block_bytes: block_bytes.max(FRAME_BYTES),
            uploads: Arc::new(Semaphore::new(limits.uploads.max(1))),
            downloads: Semaphore::new(limits.downloads.max(1)),
            cache: Cache::with_weighter(groups, limits.memory_bytes as u64, ByBytes),
            limits,
            keys,
        }))
    }

    /// The store behind.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.0.store
    }

    /// Begins to store a slice under an id that was granted for it.
    pub fn upload(&self, id: SliceId) -> SliceUpload {
        SliceUpload::new(Arc::clone(&self.0), id)
    }

    /// Reads `len` bytes from `off` on of an *uploaded* slice. Every frame that is touched is
    /// checked against its crc.
    ///
    /// # Errors
    /// [`ChunkError::Damaged`] or a missing object, by name, if what is stored is not what was
    /// written; both after a second read, since the first may have been hurt on its way.
    pub async fn read(&self, slice: &Slice, off: u32, len: u32) -> Result<Bytes, ChunkError> {
        let end = off.checked_add(len).filter(|end| *end <= slice.size);
        let frames = slice.size.div_ceil(FRAME_BYTES) as usize;
        let (Some(end), true) = (end, frames == slice.frame_crcs.len()) else {
            let why = "the range or its crcs do not fit its size";
            return Err(ChunkError::BadSlice {
                slice: slice.id.0,
                why,
            });
        };
        if len == 0 {
            return Ok(Bytes::new());
        }
        let group_bytes = self.group_bytes();
        let groups = off / group_bytes..=(end - 1) / group_bytes;
        let parts = try_join_all(groups.map(|group| async move {
            let data = self.group(slice, group).await?;
            let begin = group * group_bytes;
            let from = off.saturating_sub(begin) as usize;
            let to = ((end - begin) as usize).min(data.len());
            Ok::<Bytes, ChunkError>(data.slice(from..to))
        }))
        .await?;
        Ok(joined(parts))
    }

    /// A group never lies across two blocks.
    fn group_bytes(&self) -> u32 {
        (GROUP_FRAMES * FRAME_BYTES).min(self.0.block_bytes)
    }

    /// Verified bytes of a group; concurrent readers of one group share one request.
    async fn group(&self, slice: &Slice, group: u32) -> Result<Bytes, ChunkError> {
        let key = (slice.id, group);
        match self.0.cache.get_value_or_guard_async(&key).await {
            Ok(data) => Ok(data),
            Err(guard) => {
                let data = self.fetch(slice, group).await?;
                // Only a cache that was cleared meanwhile does not take it in.
                let _kept = guard.insert(data.clone());
                Ok(data)
            }
        }
    }

    async fn fetch(&self, slice: &Slice, group: u32) -> Result<Bytes, ChunkError> {
        match self.fetch_once(slice, group).await {
            Err(error) => {
                tracing::warn!(%error, "a read is tried again");
                self.fetch_once(slice, group).await
            }
            done => done,
        }
    }

    async fn fetch_once(&self, slice: &Slice, group: u32) -> Result<Bytes, ChunkError> {
        let block_bytes = self.0.block_bytes;
        let begin = group * self.group_bytes();
        let end = begin.saturating_add(self.group_bytes()).min(slice.size);
        let index = begin / block_bytes;
        let block_begin = index * block_bytes;
        let size = block_bytes.min(slice.size - block_begin);
        let key = self.0.block_key(slice.id, index, size)?;
        let range = u64::from(begin - block_begin)..u64::from(end - block_begin);
        let closed = |_| {
            let why = "the store is closed".to_owned();
            ObjectError::Failed {
                action: "get",
                key: key.clone(),
                why,
            }
        };
        let data = {
            let _permit = self.0.downloads.acquire().await.map_err(closed)?;
            self.0.store.get(&key, range).await?
        };
        verify(
            slice,
            begin / FRAME_BYTES,
            &data,
            (end - begin) as usize,
            &key,
        )?;
        Ok(data)
    }
}

/// Checks whole frames from `first` on.
fn verify(
    slice: &Slice,
    first: u32,
    data: &[u8],
    expected_len: usize,
    key: &str,
) -> Result<(), ChunkError> {
    if data.len() != expected_len {
        return Err(ObjectError::Missing {
            key: key.to_owned(),
        }
        .into());
    }
    for (frame, bytes) in (first..).zip(data.chunks(FRAME_BYTES as usize)) {
        let expected = slice.frame_crcs.get(frame as usize);
        if expected != Some(&crc32fast::hash(bytes)) {
            return Err(ChunkError::Damaged {
                key: key.to_owned(),
                frame,
            });
        }
    }
    Ok(())
}

fn joined(mut parts: Vec<Bytes>) -> Bytes {
    match parts.as_mut_slice() {
        [one] => std::mem::take(one),
        _ => {
            let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| all.extend_from_slice(part));
            all.freeze()
        }
    }
}
