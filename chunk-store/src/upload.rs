//! A slice on its way into the store.

use crate::error::{ChunkError, ObjectError};
use crate::frame::frame_crcs;
use crate::retry::RetryBudget;
use crate::slice_store::Shared;
use bytes::{Bytes, BytesMut};
use meta_core::ids::SliceId;
use meta_core::limits::CHUNK_BYTES;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

/// A slice that is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploaded {
    /// Its length in bytes.
    pub len: u32,
    /// CRC-32 of each frame.
    pub frame_crcs: Vec<u32>,
}

/// Bytes pushed one after the other; each block goes up as soon as it is full. Dropped before
/// [`Self::finish`], it stops: blocks that are up already belong to no file. The first error ends
/// it, and every later call tells that error again.
#[derive(Debug)]
pub struct SliceUpload {
    shared: Arc<Shared>,
    id: SliceId,
    /// The block that is not full yet.
    block: BytesMut,
    index: u32,
    frame_crcs: Vec<u32>,
    len: u64,
    tasks: JoinSet<Result<(), ChunkError>>,
    failed: Option<ChunkError>,
}

impl SliceUpload {
    pub(crate) fn new(shared: Arc<Shared>, id: SliceId) -> Self {
        Self {
            shared,
            id,
            block: BytesMut::new(),
            index: 0,
            frame_crcs: Vec::new(),
            len: 0,
            tasks: JoinSet::new(),
            failed: None,
        }
    }

    /// Bytes pushed so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes. Waits while the volume has its bound of uploads under way.
    ///
    /// # Errors
    /// [`ChunkError::BadLength`] past 64 MiB, or what an earlier block's upload failed with.
    pub async fn push(&mut self, data: Bytes) -> Result<(), ChunkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let pushed = self.add(data).await;
        self.keep(pushed)
    }

    /// Sends what is left and waits until every block is stored durably.
    ///
    /// # Errors
    /// [`ChunkError::BadLength`] if nothing was pushed, or what a block's upload failed with.
    pub async fn finish(mut self) -> Result<Uploaded, ChunkError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !self.block.is_empty() {
            let rest = self.block.split().freeze();
            self.send(rest).await?;
        }
        while let Some(done) = self.tasks.join_next().await {
            self.settled(done)?;
        }
        match u32::try_from(self.len) {
            Ok(len) if len > 0 => Ok(Uploaded {
                len,
                frame_crcs: self.frame_crcs,
            }),
            _ => Err(ChunkError::BadLength),
        }
    }

    async fn add(&mut self, mut data: Bytes) -> Result<(), ChunkError> {
        if self.len + data.len() as u64 > CHUNK_BYTES {
            return Err(ChunkError::BadLength);
        }
        self.len += data.len() as u64;
        let block_bytes = (self.shared.block_bytes as usize).max(1);
        while !data.is_empty() {
            if self.block.is_empty() && data.len() >= block_bytes {
                // A whole block in one piece is not copied.
                let whole = data.split_to(block_bytes);
                self.send(whole).await?;
                continue;
            }
            let room = block_bytes - self.block.len();
            self.block
                .extend_from_slice(&data.split_to(room.min(data.len())));
            if self.block.len() == block_bytes {
                let full = self.block.split().freeze();
                self.send(full).await?;
            }
        }
        Ok(())
    }

    /// Starts a block's upload as soon as one may start.
    async fn send(&mut self, data: Bytes) -> Result<(), ChunkError> {
        while let Some(done) = self.tasks.try_join_next() {
            self.settled(done)?;
        }
        let size = u32::try_from(data.len()).map_err(|_| ChunkError::BadLength)?;
        let key = self.shared.block_key(self.id, self.index, size)?;
        let permit = Arc::clone(&self.shared.uploads).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        // Blocks are whole frames but for the last one, so each block begins with a frame.
        self.frame_crcs.extend(frame_crcs(&data));
        self.index += 1;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let stored = put(&shared, &key, data).await;
            drop(permit);
            stored
        });
        Ok(())
    }

    fn settled(&self, done: Result<Result<(), ChunkError>, JoinError>) -> Result<(), ChunkError> {
        done.unwrap_or_else(|error| {
            Err(ChunkError::Object(ObjectError::Failed {
                action: "put",
                key: format!("a block of slice {}", self.id),
                why: error.to_string(),
            }))
        })
    }

    fn keep(&mut self, done: Result<(), ChunkError>) -> Result<(), ChunkError> {
        if let Err(error) = &done {
            self.failed = Some(error.clone());
            self.tasks.abort_all();
        }
        done
    }
}

/// Puts one block, again while the store's failure may pass and the block's time lasts.
async fn put(shared: &Shared, key: &str, data: Bytes) -> Result<(), ChunkError> {
    // Of its own: a failure that passed must not count against a block that fails much later.
    let budget = RetryBudget::new(shared.limits.retry_for);
    let mut attempt = 1;
    loop {
        let error = match shared.store.put(key, data.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) if !error.may_pass() => return Err(error.into()),
            Err(error) => error,
        };
        let Some(pause) = budget.pause(attempt) else {
            return Err(ChunkError::GaveUp {
                attempts: attempt,
                last: error,
            });
        };
        tracing::warn!(attempt, %error, "a block's upload is tried again");
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

#[cfg(test)]
#[path = "upload_test.rs"]
mod tests;
