//! Ranges that become holes, and room that is asked for before it is written.

use super::VfsError;
use super::file::WriteHow;
use super::handle::HandleId;
use super::vfs_core::Vfs;
use bytes::Bytes;
use meta_core::attr::{Attr, Caller};
use meta_core::command::{Fallocate, FallocateMode, Operation};
use meta_core::ids::SessionId;
use meta_core::limits::{CHUNK_BYTES, FILE_BYTES_MAX};
use meta_core::outcome::{Refusal, Success};

/// Zeros are written by pieces of this size.
const ZEROS_BYTES: usize = 1 << 20;

impl Vfs {
    /// Makes a range read as zeros, and gives up what was stored of it. What was written before is
    /// stored and committed first.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] on a volume that nodes or mirrors of an earlier version share;
    /// [`Refusal::FileTooLarge`]; what went wrong with an earlier write, if this handle was not told yet.
    pub async fn make_hole(
        &self,
        id: HandleId,
        caller: &Caller,
        offset: u64,
        len: u64,
        mode: FallocateMode,
    ) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        if !handle.write {
            return Err(VfsError::BadHandle);
        }
        let end = offset.checked_add(len);
        let end = end
            .filter(|end| *end <= FILE_BYTES_MAX)
            .ok_or(Refusal::FileTooLarge)?;
        self.core.check_fence(id, &handle)?;
        self.core.drain(&handle.inode).await;
        handle.tell()?;
        let inode = &handle.inode;
        let mut at = offset;
        // A command that comes to a chunk with as many holes as it may have is refused as a whole.
        let mut by_chunks = false;
        while at < end {
            let chunk_end = (at / CHUNK_BYTES + 1).saturating_mul(CHUNK_BYTES).min(end);
            let stop = if by_chunks { chunk_end } else { end };
            let asked = Fallocate {
                ino: inode.ino,
                offset: at,
                len: stop - at,
                mode,
            };
            let under = self.core.locked_in(inode);
            at = match self.core.meta.fallocate(under, caller, asked).await {
                Ok((next, attr)) if next > at => {
                    // What is read through the handle from now on is of this state.
                    inode.learn(attr);
                    next
                }
                Ok(_) => return Err(VfsError::Unexpected("a hole that does not grow")),
                Err(VfsError::Refused(Refusal::LimitReached)) if stop > chunk_end => {
                    by_chunks = true;
                    at
                }
                Err(VfsError::Refused(Refusal::LimitReached)) => {
                    self.write_zeros(id, caller, at, stop, mode).await?;
                    stop
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    async fn write_zeros(
        &self,
        id: HandleId,
        caller: &Caller,
        begin: u64,
        end: u64,
        mode: FallocateMode,
    ) -> Result<(), VfsError> {
        let ino = self.core.handles.file(id)?.inode.ino;
        let end = match mode {
            FallocateMode::Zero => end,
            FallocateMode::Punch => end.min(self.get_attr(&Caller::root(), ino).await?.length),
        };
        let how = WriteHow::default();
        let mut at = begin;
        while at < end {
            let len = usize::try_from(end - at).map_or(ZEROS_BYTES, |left| left.min(ZEROS_BYTES));
            let zeros = Bytes::from(vec![0; len]);
            self.write(id, caller, at, zeros, how).await?;
            at += len as u64;
        }
        self.fsync(id).await
    }
}

impl super::meta::Meta {
    /// Gives how far the range is a hole now. In one session alone if one is given.
    async fn fallocate(
        &self,
        under: Option<SessionId>,
        caller: &Caller,
        asked: Fallocate,
    ) -> Result<(u64, Attr), VfsError> {
        let operation = Operation::Fallocate(asked);
        let done = match under {
            Some(session) => {
                self.api()
                    .execute_in(session, caller.clone(), operation)
                    .await
            }
            None => self.execute(caller, operation).await,
        };
        match done {
            Ok(Success::Fallocated { next, attr }) => {
                self.saw(&attr);
                Ok((next, attr))
            }
            Ok(_) => Err(VfsError::Unexpected("a range that became a hole")),
            Err(VfsError::NotUnderstood(_)) => Err(Refusal::NotSupported.into()),
            Err(error) => Err(error),
        }
    }
}
