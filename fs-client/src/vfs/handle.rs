//! Open handles.

use super::VfsError;
use super::directory::DirHandle;
use super::file::OpenHow;
use super::inode::{Inode, InodeState};
use super::readahead::ReadAhead;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An open file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HandleId(pub u64);

/// An open directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DirHandleId(pub u64);

#[derive(Debug)]
pub(super) struct FileHandle {
    pub(super) inode: Arc<Inode>,
    pub(super) read: bool,
    pub(super) write: bool,
    /// What is read through it moves no time of access.
    pub(super) noatime: bool,
    pub(super) readahead: Mutex<ReadAhead>,
    /// Up to which of the file's errors this handle was told.
    told: AtomicU64,
}

impl FileHandle {
    pub(super) fn new(inode: Arc<Inode>, how: OpenHow) -> Self {
        let told = inode.lock().faults_told();
        Self {
            inode,
            read: how.read,
            write: how.write,
            noatime: how.noatime,
            readahead: Mutex::default(),
            told: AtomicU64::new(told),
        }
    }

    /// Tells an error of background work, once.
    pub(super) fn tell(&self) -> Result<(), VfsError> {
        self.tell_of(&mut self.inode.lock())
    }

    /// As [`Self::tell`], but it stays to be told.
    ///
    /// A program that forks or executes another closes copies of its descriptors, and looks at none of these
    /// results: what they are told must not be missing from its fsync.
    pub(super) fn tell_of_close(&self) -> Result<(), VfsError> {
        self.inode.lock().to_tell(self.told.load(Relaxed))
    }

    /// As [`Self::tell`], for who holds the file's state.
    pub(super) fn tell_of(&self, state: &mut InodeState) -> Result<(), VfsError> {
        state
            .tell(self.told.load(Relaxed))
            .map_err(|(error, count)| {
                self.told.store(count, Relaxed);
                error
            })
    }
}

#[derive(Debug, Default)]
pub(super) struct HandleTable {
    last: AtomicU64,
    files: RwLock<HashMap<HandleId, Arc<FileHandle>>>,
    directories: RwLock<HashMap<DirHandleId, Arc<DirHandle>>>,
}

impl HandleTable {
    fn next(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn add(&self, handle: FileHandle) -> HandleId {
        let id = HandleId(self.next());
        self.files.write().insert(id, Arc::new(handle));
        id
    }

    pub(super) fn file(&self, id: HandleId) -> Result<Arc<FileHandle>, VfsError> {
        let found = self.files.read().get(&id).cloned();
        found.ok_or(VfsError::BadHandle)
    }

    pub(super) fn remove(&self, id: HandleId) -> Option<Arc<FileHandle>> {
        self.files.write().remove(&id)
    }

    pub(super) fn add_directory(&self, handle: DirHandle) -> DirHandleId {
        let id = DirHandleId(self.next());
        self.directories.write().insert(id, Arc::new(handle));
        id
    }

    pub(super) fn directory(&self, id: DirHandleId) -> Result<Arc<DirHandle>, VfsError> {
        let found = self.directories.read().get(&id).cloned();
        found.ok_or(VfsError::BadHandle)
    }

    pub(super) fn remove_directory(&self, id: DirHandleId) -> Option<Arc<DirHandle>> {
        self.directories.write().remove(&id)
    }

    /// Open files and directories.
    pub(super) fn len(&self) -> usize {
        self.files.read().len() + self.directories.read().len()
    }
}
