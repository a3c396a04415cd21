//! The files that this mount holds: open, or with data that waits.

use super::VfsError;
use super::inode::Inode;
use meta_core::attr::Attr;
use meta_core::ids::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

#[derive(Debug)]
struct Held {
    inode: Arc<Inode>,
    opens: u64,
}

/// Open files by inode, with the number of their handles.
#[derive(Debug, Default)]
pub(super) struct InodeTable {
    files: Mutex<HashMap<Ino, Held>>,
    /// Files with pending slices. Its lock is taken inside an inode's.
    dirty: Mutex<HashMap<Ino, Arc<Inode>>>,
    /// Open directories, with the number of their handles.
    directories: Mutex<HashMap<Ino, u64>>,
    /// The first loss that no handle was told before its file was let go: nobody but the end of
    /// the mount can tell it any more.
    lost: Mutex<Option<VfsError>>,
}

impl InodeTable {
    /// One more handle of a file.
    pub(super) fn open(&self, attr: Attr) -> Arc<Inode> {
        let mut files = self.files.lock();
        match files.entry(attr.ino) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.opens += 1;
                held.inode.learn(attr);
                Arc::clone(&held.inode)
            }
            Entry::Vacant(free) => {
                let inode = Arc::new(Inode::new(attr));
                free.insert(Held {
                    inode: Arc::clone(&inode),
                    opens: 1,
                });
                inode
            }
        }
    }

    /// One handle less.
    pub(super) fn close(&self, inode: &Inode) {
        let mut files = self.files.lock();
        if let Some(held) = files.get_mut(&inode.ino) {
            held.opens = held.opens.saturating_sub(1);
        }
        self.let_go(&mut files, inode);
    }

    /// Forgets a file that has no handle and nothing pending.
    pub(super) fn forget_if_idle(&self, inode: &Inode) {
        self.let_go(&mut self.files.lock(), inode);
    }

    fn let_go(&self, files: &mut HashMap<Ino, Held>, inode: &Inode) {
        let idle = files
            .get(&inode.ino)
            .is_some_and(|held| held.opens == 0 && held.inode.is_clean());
        if idle
            && let Some(held) = files.remove(&inode.ino)
            && let Some(error) = held.inode.lock().untold()
        {
            tracing::error!(ino = inode.ino.0, %error, "data was lost and no close was told");
            self.lost.lock().get_or_insert_with(|| error.clone());
        }
    }

    /// A loss that no handle was told, of a file that is held or was let go.
    pub(super) fn untold(&self) -> Option<VfsError> {
        let untold = |held: &Held| held.inode.lock().untold().cloned();
        // A file that is let go meanwhile is found among the lost: they are looked at last.
        let held = self.files.lock().values().find_map(untold);
        held.or_else(|| self.lost.lock().clone())
    }

    pub(super) fn get(&self, ino: Ino) -> Option<Arc<Inode>> {
        let files = self.files.lock();
        files.get(&ino).map(|held| Arc::clone(&held.inode))
    }

    /// All of them.
    pub(super) fn open_files(&self) -> Vec<Ino> {
        self.files.lock().keys().copied().collect()
    }

    pub(super) fn mark_dirty(&self, inode: &Arc<Inode>) {
        self.dirty.lock().insert(inode.ino, Arc::clone(inode));
    }

    pub(super) fn mark_clean(&self, inode: &Inode) {
        self.dirty.lock().remove(&inode.ino);
    }

    pub(super) fn dirty(&self) -> Vec<Arc<Inode>> {
        self.dirty.lock().values().cloned().collect()
    }

    pub(super) fn open_directory(&self, ino: Ino) {
        *self.directories.lock().entry(ino).or_default() += 1;
    }

    pub(super) fn close_directory(&self, ino: Ino) {
        let mut directories = self.directories.lock();
        if let Entry::Occupied(mut held) = directories.entry(ino) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Whether a handle or waiting data holds the file.
    pub(super) fn holds(&self, ino: Ino) -> bool {
        self.files.lock().contains_key(&ino) || self.directories.lock().contains_key(&ino)
    }

    /// Owners of locks, of all files.
    pub(super) fn lock_owners(&self) -> u64 {
        let files = self.files.lock();
        let owners = files.values().map(|held| held.inode.lock().locks.len());
        owners.sum::<usize>() as u64
    }

    /// Files held.
    pub(super) fn len(&self) -> usize {
        self.files.lock().len()
    }
}
