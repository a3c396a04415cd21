//! The slices of a volume in its object store.

use crate::error::ChunkError;
use crate::key::VolumeKeys;
use crate::limits::Limits;
use crate::object::ObjectStore;
use crate::read::{self, FrameCache};
use crate::upload::SliceUpload;
use bytes::Bytes;
use meta_core::ids::{ClusterId, Epoch, SliceId};
use meta_core::limits::FRAME_BYTES;
use meta_core::query::Slice;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What all uploads and reads of a volume share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) block_bytes: u32,
    pub(crate) limits: Limits,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) downloads: Semaphore,
    pub(crate) frames: FrameCache,
    keys: RwLock<VolumeKeys>,
}

impl Shared {
    /// The name of a block of `size` bytes.
    pub(crate) fn block_key(
        &self,
        slice: SliceId,
        index: u32,
        size: u32,
    ) -> Result<String, ChunkError> {
        let refused = |why| ChunkError::BadSlice {
            slice: slice.0,
            why,
        };
        // The engine makes no such volume; dividing blocks into frames relies on it.
        if self.block_bytes == 0 || !self.block_bytes.is_multiple_of(FRAME_BYTES) {
            return Err(refused("its volume's block size is not whole frames"));
        }
        match self.keys.read().block(slice, index, size) {
            Some(key) => Ok(key.to_string()),
            None => Err(refused("its epoch is not one of the volume's")),
        }
    }
}

/// The slices of a volume. Clones share the bounds and the memory cache.
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
        Self(Arc::new(Shared {
            store,
            block_bytes,
            uploads: Arc::new(Semaphore::new(limits.blocks_up(block_bytes))),
            downloads: Semaphore::new(limits.downloads.max(1)),
            frames: read::frame_cache(limits.memory_bytes),
            limits,
            keys: RwLock::new(keys),
        }))
    }

    /// Whether a slice is of an epoch whose blocks can be named here.
    pub fn knows_epoch_of(&self, slice: SliceId) -> bool {
        self.0.keys.read().cluster(slice).is_some()
    }

    /// Takes in all epochs that the volume has by now: others are opened while it is used.
    pub fn learn(&self, epochs: Vec<(Epoch, ClusterId)>) {
        self.0.keys.write().epochs = epochs;
    }

    /// The store behind.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.0.store
    }

    /// Bytes of verified frames in memory now.
    pub fn memory_bytes(&self) -> u64 {
        self.0.frames.weight()
    }

    /// Begins to store a slice under an id that was granted for it. Must be called, like all that
    /// follows, on a tokio runtime.
    pub fn upload(&self, id: SliceId) -> SliceUpload {
        SliceUpload::new(Arc::clone(&self.0), id)
    }

    /// Reads `len` bytes from `off` on of an *uploaded* slice. Every frame that is touched is
    /// checked against its crc, and nothing is answered that does not fit.
    ///
    /// # Errors
    /// [`ChunkError::Damaged`], or a missing or short object, by name, if what is stored is not
    /// what was written; each after a second read, since the first may have been hurt on its way.
    /// [`ChunkError::GaveUp`] if the store kept failing.
    pub async fn read(&self, slice: &Slice, off: u32, len: u32) -> Result<Bytes, ChunkError> {
        read::read(&self.0, slice, off, len).await
    }
}
