//! Opening, writing and closing files.

use super::VfsError;
use super::handle::{FileHandle, HandleId};
use super::new_mode::NewMode;
use super::pending::Place;
use super::vfs_core::Vfs;
use bytes::Bytes;
use meta_core::attr::{Attr, Caller};
use meta_core::chunk::split;
use meta_core::command::{Create, Existing, NewNode, Operation, SetAttr};
use meta_core::ids::Ino;
use meta_core::limits::{CHUNK_BYTES, FILE_BYTES_MAX};
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::QueryBody;
use std::sync::atomic::Ordering::Relaxed;

/// Writes are taken in by pieces of this size, so that none needs much memory at once.
const PIECE_BYTES: usize = 1 << 20;

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenHow {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// To be executed: reading needs no permission to read.
    pub execute: bool,
    /// A create: empty a file that is there.
    pub truncate: bool,
    /// A create: refuse if the name exists.
    pub exclusive: bool,
    /// To be read without moving its time of access.
    pub noatime: bool,
}

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteHow {
    /// At the end of the file, wherever other mounts have moved it.
    pub append: bool,
    /// Return only when the bytes are durable and committed.
    pub sync: bool,
}

/// An open file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The handle.
    pub handle: HandleId,
    /// The attributes, with pending writes.
    pub attr: Attr,
    /// Whether a create made the file.
    pub created: bool,
    /// Whether pages that the kernel may hold of the file are still what it contains.
    pub pages_valid: bool,
}

impl Vfs {
    /// Opens a file, and learns its newest state.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn open_file(
        &self,
        caller: &Caller,
        ino: Ino,
        how: OpenHow,
    ) -> Result<Opened, VfsError> {
        if how.write {
            self.writable()?;
        }
        let _settles = self.core.opens.begin();
        let body = QueryBody::Open {
            ino,
            read: how.read && !how.execute,
            write: how.write,
        };
        let attr = match self.core.meta.attr(caller, body).await {
            // The engine gives nobody a file without names; who holds it may open it once more,
            // as by /proc/self/fd. The kernel has checked the mode.
            Err(VfsError::Refused(Refusal::Stale)) if self.core.inodes.holds(ino) => {
                self.core
                    .meta
                    .attr(caller, QueryBody::GetAttr { ino })
                    .await?
            }
            attr => attr?,
        };
        Ok(self.opened(attr, how, false).await)
    }

    /// Makes a regular file and opens it, in one operation; opens the one that is there unless
    /// `how` is exclusive.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: Name,
        mode: impl Into<NewMode>,
        how: OpenHow,
    ) -> Result<Opened, VfsError> {
        let mode = mode.into();
        self.writable()?;
        let _settles = self.core.opens.begin();
        let existing = if how.exclusive {
            Existing::Refuse
        } else {
            Existing::Open {
                read: how.read,
                write: how.write,
            }
        };
        let operation = Operation::Create(Create {
            parent,
            name,
            mode: mode.bits,
            masked: mode.masked,
            node: NewNode::Regular,
            existing,
        });
        let Success::Entry { attr, created } = self.core.meta.execute(caller, operation).await?
        else {
            return Err(VfsError::Unexpected("a new file"));
        };
        let mut opened = self.opened(attr, how, created).await;
        if how.truncate && !created && opened.attr.length > 0 {
            let empty = SetAttr {
                ino: opened.attr.ino,
                length: Some(0),
                by_handle: how.write,
                ..SetAttr::default()
            };
            match self.set_attr(caller, empty).await {
                Ok(attr) => opened.attr = attr,
                Err(error) => {
                    self.release(opened.handle);
                    return Err(error);
                }
            }
        }
        Ok(opened)
    }

    async fn opened(&self, attr: Attr, how: OpenHow, created: bool) -> Opened {
        let ino = attr.ino;
        let inode = self.core.inodes.open(attr);
        // From now on it is told who else changes the file; what came before is asked for, mostly from memory.
        if let Err(error) = self.core.refresh(&inode).await {
            tracing::debug!(%ino, %error, "the next read asks again");
        }
        let version = inode.lock().known.ctime;
        if created {
            inode.bare.store(true, Relaxed);
        }
        let attr = self.core.access_times.over(inode.lock().shown());
        let seen = self.core.page_cache.get(&ino);
        let told = self.core.is_current(&inode);
        let pages_valid = seen == Some(version) && inode.is_clean() && told;
        if !pages_valid {
            self.core.page_cache.insert(ino, version);
        }
        let handle = FileHandle::new(inode, how);
        Opened {
            handle: self.core.handles.add(handle),
            attr,
            created,
            pages_valid,
        }
    }

    /// Writes. Without `sync`, success means that the bytes are in the file's buffers: this mount
    /// reads them from now on, and [`Self::fsync`] and [`Self::flush`] make them durable.
    ///
    /// # Errors
    /// [`Refusal::FileTooLarge`]; what went wrong with an earlier write, if this handle was not told
    /// yet: then nothing of this one is taken in.
    pub async fn write(
        &self,
        id: HandleId,
        caller: &Caller,
        offset: u64,
        data: Bytes,
        how: WriteHow,
    ) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        if !handle.write {
            return Err(VfsError::BadHandle);
        }
        self.core.check_fence(id, &handle)?;
        let end = offset.checked_add(data.len() as u64);
        if !how.append && end.is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(Refusal::FileTooLarge.into());
        }
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (place, piece) = self.piece(at, &mut rest, how)?;
            at += piece.len() as u64;
            self.core.accept(&handle, place, piece, caller).await?;
        }
        if how.sync {
            self.core.drain(&handle.inode).await;
            handle.tell()?;
        }
        Ok(())
    }

    /// Cuts off the next piece of a write: within one chunk, or of one slice if it is appended.
    fn piece(&self, at: u64, rest: &mut Bytes, how: WriteHow) -> Result<(Place, Bytes), VfsError> {
        if how.append {
            let max = self.core.options.slice_bytes_max as usize;
            return Ok((Place::End, rest.split_to(rest.len().min(max))));
        }
        let (chunk, within) = split(at).ok_or(Refusal::FileTooLarge)?;
        let room = usize::try_from(CHUNK_BYTES - u64::from(within)).unwrap_or(usize::MAX);
        let len = rest.len().min(room).min(PIECE_BYTES);
        Ok((Place::At(chunk, within), rest.split_to(len)))
    }

    /// Makes everything written to the file durable and visible to other mounts.
    ///
    /// # Errors
    /// What went wrong with writes to the file since this handle was last told.
    pub async fn fsync(&self, id: HandleId) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        self.core.drain(&handle.inode).await;
        handle.tell()
    }

    /// A descriptor of the handle is closed: the same as [`Self::fsync`] if it is open for
    /// writing, but an error is told to the next fsync or write all the same.
    ///
    /// # Errors
    /// As [`Self::fsync`].
    pub async fn flush(&self, id: HandleId) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        if !handle.write {
            return Ok(());
        }
        self.core.drain(&handle.inode).await;
        // Before it is told, so that it is not taken to know what is lost in between.
        handle.inode.lock().pending.note_close(id);
        handle.tell_of_close()
    }

    /// The last descriptor of the handle is closed. Data that still waits, from a memory map, is
    /// flushed in the background.
    pub fn release(&self, id: HandleId) {
        let Some(handle) = self.core.handles.remove(id) else {
            return;
        };
        let inode = &handle.inode;
        let has_locks = {
            let mut state = inode.lock();
            if state.pending.last_close_was_told(id) && state.lacks_only_room() {
                // No fsync of this handle can ask any more. That there was no room its writer knows from the
                // last close, as on a disk; of data that was lost otherwise the end of the mount tells once
                // more, as nobody may have looked at what the close said.
                let _by_the_close = handle.tell_of(&mut state);
            }
            state.locks.len() > 0
        };
        if !has_locks {
            self.core.inodes.close(inode);
            if inode.is_clean() {
                return;
            }
        }
        let (core, inode) = (self.core.clone(), inode.clone());
        tokio::spawn(async move {
            if has_locks {
                // Before the file is let go, which knows of them.
                core.unlock_released(id, &inode).await;
                core.inodes.close(&inode);
            }
            core.drain(&inode).await;
            core.inodes.forget_if_idle(&inode);
        });
    }

    /// Makes the file at least `length` bytes long.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn extend(&self, id: HandleId, caller: &Caller, length: u64) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        if !handle.write {
            return Err(VfsError::BadHandle);
        }
        self.core.check_fence(id, &handle)?;
        let ino = handle.inode.ino;
        // The engine compares: a length read here could be another mount's past.
        let change = SetAttr {
            ino,
            length: Some(length),
            grow_only: true,
            by_handle: true,
            ..SetAttr::default()
        };
        self.set_attr(caller, change).await?;
        Ok(())
    }

    /// The file of a handle.
    ///
    /// # Errors
    /// [`VfsError::BadHandle`].
    pub fn ino_of(&self, id: HandleId) -> Result<Ino, VfsError> {
        Ok(self.core.handles.file(id)?.inode.ino)
    }
}
