//! Reads: what is committed, with the pending writes over it.

use super::VfsError;
use super::handle::{FileHandle, HandleId};
use super::inode::{Inode, View};
use super::slice_table::ChunkTable;
use super::vfs_core::{Core, Vfs};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use meta_core::attr::Timestamp;
use meta_core::chunk::{resolve, split};
use meta_core::limits::CHUNK_BYTES;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Pieces of one read that are fetched at a time.
const FETCHES: usize = 8;

/// A run of bytes of a read that comes from one slice.
#[derive(Debug)]
struct Fetch {
    /// Where it goes in the answer.
    at: usize,
    len: u32,
    table: Arc<ChunkTable>,
    slice: usize,
    /// Where it begins in the uploaded slice.
    off: u32,
}

impl Vfs {
    /// Reads up to `len` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// [`VfsError::Storage`] if a block is missing or damaged, else as the engine answers.
    pub async fn read(&self, id: HandleId, offset: u64, len: u32) -> Result<Bytes, VfsError> {
        let handle = self.core.handles.file(id)?;
        if !handle.read {
            return Err(VfsError::BadHandle);
        }
        if handle.inode.lock().pending.has_appends() {
            self.core.drain(&handle.inode).await;
        }
        self.core.refresh(&handle.inode).await?;
        let asked = offset..offset.saturating_add(u64::from(len));
        let (view, sets) = {
            let state = handle.inode.lock();
            (state.view(&asked), state.accesses.sets())
        };
        let range = offset..asked.end.min(view.length);
        let bytes = if range.is_empty() {
            Bytes::new()
        } else {
            self.core.read_view(&handle, &view, range).await?
        };
        self.core
            .stats
            .read_bytes
            .fetch_add(bytes.len() as u64, Relaxed);
        // Also at the end of the file, as POSIX has it.
        if len > 0 {
            self.core.accessed(&handle, sets);
        }
        Ok(bytes)
    }
}

impl Core {
    async fn read_view(
        self: &Arc<Self>,
        handle: &FileHandle,
        view: &View,
        range: Range<u64>,
    ) -> Result<Bytes, VfsError> {
        let one_covers = |overlay: &super::inode::Overlay| {
            overlay.range.start <= range.start && overlay.range.end >= range.end
        };
        let mut out = if view.overlays.iter().any(one_covers) {
            BytesMut::zeroed(size(&range))
        } else {
            let base = self.read_ahead(handle, view, range.clone()).await?;
            if view.overlays.is_empty() {
                return Ok(base);
            }
            BytesMut::from(base)
        };
        for overlay in &view.overlays {
            let end = overlay.range.end.min(range.end);
            if overlay.range.start < end {
                let at = size(&(range.start..overlay.range.start));
                let len = size(&(overlay.range.start..end));
                overlay
                    .buffer
                    .copy_into(overlay.from, &mut out[at..at + len]);
            }
        }
        Ok(out.freeze())
    }

    /// Reads what is committed, without pending writes: zeros where nothing was written.
    pub(super) async fn read_committed(
        &self,
        inode: &Inode,
        range: Range<u64>,
        version: Timestamp,
    ) -> Result<Bytes, VfsError> {
        let fetches = self.plan(inode, &range, version).await?;
        let whole = size(&range);
        if let [only] = fetches.as_slice()
            && only.len as usize == whole
        {
            return self.fetch(only).await;
        }
        let mut out = BytesMut::zeroed(whole);
        let mut fetched = futures::stream::iter(fetches)
            .map(|fetch| async move { Ok::<_, VfsError>((fetch.at, self.fetch(&fetch).await?)) })
            .buffer_unordered(FETCHES);
        while let Some((at, bytes)) = fetched.try_next().await? {
            out[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        drop(fetched);
        Ok(out.freeze())
    }

    /// Which runs of which slices make up a range.
    async fn plan(
        &self,
        inode: &Inode,
        range: &Range<u64>,
        version: Timestamp,
    ) -> Result<Vec<Fetch>, VfsError> {
        let mut fetches = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some((chunk, within)) = split(at) else {
                break;
            };
            let len = (CHUNK_BYTES - u64::from(within)).min(range.end - at);
            let end = within + u32::try_from(len).unwrap_or(u32::MAX - within);
            let table = self.table(inode, chunk, version).await?;
            for piece in resolve(&table.slices, within..end) {
                if let Some((slice, off)) = piece.data {
                    let offset = at + u64::from(piece.at - within);
                    fetches.push(Fetch {
                        at: size(&(range.start..offset)),
                        len: piece.len,
                        table: Arc::clone(&table),
                        slice,
                        off,
                    });
                }
            }
            at += len;
        }
        Ok(fetches)
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Bytes, VfsError> {
        let slice = &fetch.table.slices[fetch.slice];
        self.know_epoch_of(slice.id).await?;
        let read = self.slices.read(slice, fetch.off, fetch.len).await;
        let bytes = read.map_err(|error| {
            tracing::error!(slice = slice.id.0, %error, "a block cannot be read");
            let error = VfsError::from(error);
            self.stats.note_error(&error);
            error
        })?;
        if bytes.len() == fetch.len as usize {
            Ok(bytes)
        } else {
            Err(VfsError::Storage("a block read ended short".into()))
        }
    }
}

/// The length of a range that lies in memory.
pub(super) fn size(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)
}
