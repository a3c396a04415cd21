//! The way of a pending slice's bytes to the object store.

use super::VfsError;
use super::grants::Lot;
use super::inode::Inode;
use super::pending::{Start, Stored};
use super::slice_buffer::SliceBuffer;
use super::vfs_core::Core;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Core {
    /// Uploads a slice in the background: the blocks that are full while it grows, the rest when
    /// it is sealed.
    pub(super) fn start_upload(self: &Arc<Self>, inode: &Arc<Inode>, start: Start) {
        let (core, inode) = (Arc::clone(self), Arc::clone(inode));
        tokio::spawn(async move {
            let result = core.upload(&start.buffer).await;
            let mut state = inode.lock();
            state.pending.uploaded(start.number, result);
            core.kick(&inode, &mut state);
        });
    }

    /// Uploads a slice under a new id; again, under another one, if that fails.
    pub(super) async fn upload(&self, buffer: &SliceBuffer) -> Result<Stored, VfsError> {
        let mut pause = self.options.upload_pause;
        let mut attempt = 1;
        loop {
            match self.upload_once(buffer).await {
                Ok(stored) => return Ok(stored),
                Err(error) if attempt >= self.options.upload_attempts => return Err(error),
                Err(error) => {
                    self.stats.upload_failures.fetch_add(1, Relaxed);
                    tracing::warn!(attempt, %error, "an upload failed and is tried again");
                }
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn upload_once(&self, buffer: &SliceBuffer) -> Result<Stored, VfsError> {
        let (id, lot): (_, Lot) = self.grants.take().await?;
        let mut upload = self.slices.upload(id);
        let mut index = 0;
        while let Some(segment) = buffer.segment(index).await {
            upload.push(segment).await.map_err(VfsError::storage)?;
            index += 1;
        }
        let uploaded = upload.finish().await.map_err(VfsError::storage)?;
        if uploaded.len != buffer.len() {
            return Err(VfsError::storage("an upload ended short"));
        }
        self.stats.uploaded_slices.fetch_add(1, Relaxed);
        self.stats
            .uploaded_bytes
            .fetch_add(u64::from(uploaded.len), Relaxed);
        Ok(Stored {
            id,
            lot,
            frame_crcs: uploaded.frame_crcs,
        })
    }
}
