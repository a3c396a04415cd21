//! A slice on its way into the store.

use crate::error::{ChunkError, ObjectError};
use crate::frame::frame_crcs;
use crate::slices::Shared;
use bytes::{Bytes, BytesMut};
use meta_core::ids::SliceId;
use meta_core::limits::CHUNK_BYTES;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A slice that is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploaded {
    /// Its length in bytes.
    pub len: u32,
    /// CRC-32 of each frame.
    pub frame_crcs: Vec<u32>,
}

/// Bytes pushed one after the other; each block goes up as soon as it is full. Dropped before
/// [`Self::finish`], it stops: blocks that are up belong to no file.
#[derive(Debug)]
pub struct SliceUpload {
    shared: Arc<Shared>,
    id: SliceId,
    block: BytesMut,
    index: u32,
    frame_crcs: Vec<u32>,
    len: u64,
    tasks: JoinSet<Result<(), ChunkError>>,
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
    pub async fn push(&mut self, mut data: Bytes) -> Result<(), ChunkError> {
        if self.len + data.len() as u64 > CHUNK_BYTES {
            return Err(ChunkError::BadLength);
        }
        self.len += data.len() as u64;
        let block_bytes = self.shared.block_bytes as usize;
        while !data.is_empty() {
            let room = block_bytes - self.block.len();
            let part = data.split_to(room.min(data.len()));
            self.block.extend_from_slice(&part);
            if self.block.len() == block_bytes {
                self.send_block().await?;
            }
        }
        Ok(())
    }

    /// Sends what is left and waits until every block is stored durably.
    ///
    /// # Errors
    /// [`ChunkError::BadLength`] if nothing was pushed, or what a block's upload failed with.
    pub async fn finish(mut self) -> Result<Uploaded, ChunkError> {
        if !self.block.is_empty() {
            self.send_block().await?;
        }
        while let Some(done) = self.tasks.join_next().await {
            settled(done)?;
        }
        match u32::try_from(self.len) {
            Ok(len) if len > 0 => Ok(Uploaded {
                len,
                frame_crcs: std::mem::take(&mut self.frame_crcs),
            }),
            _ => Err(ChunkError::BadLength),
        }
    }

    async fn send_block(&mut self) -> Result<(), ChunkError> {
        while let Some(done) = self.tasks.try_join_next() {
            settled(done)?;
        }
        let data = self.block.split().freeze();
        // Block sizes are multiples of a frame, so each block begins with a frame.
        self.frame_crcs.extend(frame_crcs(&data));
        let size = u32::try_from(data.len()).map_err(|_| ChunkError::BadLength)?;
        let key = self.shared.block_key(self.id, self.index, size)?;
        self.index += 1;
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.uploads)
            .acquire_owned()
            .await
            .map_err(|_| closed(&key))?;
        self.tasks.spawn(async move {
            let _held = permit;
            put_with_retries(&shared, &key, data).await
        });
        Ok(())
    }
}

fn closed(key: &str) -> ObjectError {
    let why = "the store is closed".to_owned();
    ObjectError::Failed {
        action: "put",
        key: key.to_owned(),
        why,
    }
}

fn settled(done: Result<Result<(), ChunkError>, tokio::task::JoinError>) -> Result<(), ChunkError> {
    done.unwrap_or_else(|error| {
        let why = error.to_string();
        Err(ObjectError::Failed {
            action: "put",
            key: String::new(),
            why,
        }
        .into())
    })
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Puts one block, again while the store's failure may pass and the budget lasts.
async fn put_with_retries(shared: &Shared, key: &str, data: Bytes) -> Result<(), ChunkError> {
    let deadline = Instant::now() + shared.limits.retry_for;
    let mut pause = FIRST_PAUSE;
    loop {
        match shared.store.put(key, data.clone()).await {
            Err(error) if error.may_pass() && Instant::now() + pause < deadline => {
                tracing::warn!(%error, "a block's upload is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return Ok(done?),
        }
    }
}
