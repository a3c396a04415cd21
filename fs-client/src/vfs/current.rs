//! Files that other mounts change while they are open here.
//!
//! The engine tells a mount that has a lease on a file before somebody else changes it. What the kernel
//! keeps of the file's bytes is dropped then, and the next read asks for the file as it is. Where there
//! is no lease nothing would be told: the kernel keeps nothing.

use super::VfsError;
use super::handle::HandleId;
use super::inode::Inode;
use super::vfs_core::{Core, Vfs};
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::query::QueryBody;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

/// The files that a mount has open, for who is told of changes. It does not keep the file system alive.
#[derive(Clone, Debug)]
pub struct OpenFiles(Weak<Core>);

impl OpenFiles {
    fn get(&self, ino: Ino) -> Option<Arc<Inode>> {
        self.0.upgrade()?.inodes.get(ino)
    }

    /// Somebody else changes a file. Says whether it is open here.
    pub fn changes(&self, ino: Ino) -> bool {
        let inode = self.get(ino);
        if let Some(inode) = &inode {
            inode.changes.fetch_add(1, SeqCst);
        }
        inode.is_some()
    }

    /// Whether a file is open here.
    pub fn has(&self, ino: Ino) -> bool {
        self.get(ino).is_some()
    }

    /// Nothing tells of changes any more. Gives all files that are open here.
    pub fn all_change(&self) -> Vec<Ino> {
        let Some(core) = self.0.upgrade() else {
            return Vec::new();
        };
        let inos = core.inodes.open_files();
        inos.into_iter().filter(|ino| self.changes(*ino)).collect()
    }
}

impl Vfs {
    /// The files that are open.
    pub fn open_files(&self) -> OpenFiles {
        OpenFiles(Arc::downgrade(&self.core))
    }

    /// The file behind a descriptor, for who hands on bytes of it: the descriptor may be closed by the time
    /// that they are there.
    pub fn handed_on(&self, id: HandleId) -> Option<HandedOnFile> {
        let handle = self.core.handles.file(id).ok()?;
        Some(HandedOnFile {
            core: Arc::clone(&self.core),
            inode: Arc::clone(&handle.inode),
        })
    }
}

/// A file of which bytes are handed on.
#[derive(Debug)]
pub struct HandedOnFile {
    core: Arc<Core>,
    inode: Arc<Inode>,
}

impl HandedOnFile {
    /// Whether who keeps them is told to drop them before somebody else changes the file. Of a file that is
    /// not open any more they are compared when it is opened again.
    pub fn is_told(&self) -> bool {
        self.core.is_current(&self.inode)
    }
}

impl Core {
    /// Whether what is known of a file is what the engine has, but for what this mount writes.
    pub(super) fn is_current(&self, inode: &Inode) -> bool {
        match self.meta.api().holds(inode.ino) {
            None => true,
            Some(held) => held && inode.seen.load(SeqCst) == inode.changes.load(SeqCst),
        }
    }

    /// Asks what a file is like by now, if somebody else may have changed it.
    pub(super) async fn refresh(&self, inode: &Inode) -> Result<(), VfsError> {
        if self.is_current(inode) {
            return Ok(());
        }
        let seen = inode.changes.load(SeqCst);
        let body = QueryBody::GetAttr { ino: inode.ino };
        let attr = self.meta.attr(&Caller::root(), body).await?;
        inode.learn(attr);
        inode.seen.store(seen, SeqCst);
        Ok(())
    }
}
