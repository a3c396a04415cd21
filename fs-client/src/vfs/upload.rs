//! The way of a pending slice's bytes to the object store.

use super::VfsError;
use super::grants::Lot;
use super::inode::Inode;
use super::meta::Meta;
use super::pending::{Start, Stored};
use super::slice_buffer::SliceBuffer;
use super::vfs_core::Core;
use chunk_store::SliceStore;
use meta_core::failpoint::{self, Point};
use meta_core::ids::SliceId;
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

    /// Uploads a slice under a new id. The block store tries again by itself for a while; what
    /// still fails is told.
    pub(super) async fn upload(&self, buffer: &SliceBuffer) -> Result<Stored, VfsError> {
        let result = self.upload_blocks(buffer).await;
        if result.is_err() {
            self.stats.upload_failures.fetch_add(1, Relaxed);
        }
        result
    }

    /// Asks for the volume's epochs if a slice is of one that was opened after the mount was made.
    pub(super) async fn know_epoch_of(&self, slice: SliceId) -> Result<(), VfsError> {
        know_epoch_of(&self.slices, &self.meta, slice).await
    }

    async fn upload_blocks(&self, buffer: &SliceBuffer) -> Result<Stored, VfsError> {
        let (id, lot): (_, Lot) = self.grants.take().await?;
        self.know_epoch_of(id).await?;
        failpoint::pass(Point::SliceUpload);
        let mut upload = self.slices.upload(id);
        let mut index = 0;
        while let Some(segment) = buffer.segment(index).await {
            upload.push(segment).await?;
            index += 1;
        }
        let uploaded = upload.finish().await?;
        failpoint::pass(Point::SliceUploaded);
        if uploaded.len != buffer.len() {
            return Err(VfsError::Storage("an upload ended short".into()));
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

/// Asks for the volume's epochs if a slice is of one that the store does not know yet.
pub(super) async fn know_epoch_of(
    slices: &SliceStore,
    meta: &Meta,
    slice: SliceId,
) -> Result<(), VfsError> {
    if !slices.knows_epoch_of(slice) {
        slices.learn(meta.api().epochs().await?);
    }
    Ok(())
}
