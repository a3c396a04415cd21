//! Extended attributes.

use super::VfsError;
use super::vfs_core::Vfs;
use meta_core::attr::Caller;
use meta_core::command::{Operation, XattrMode};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use std::sync::atomic::Ordering::Relaxed;

/// What a program may do beyond its user.
const CAPABILITY: &[u8] = b"security.capability";

impl Vfs {
    /// An attribute's value.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn get_xattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: Vec<u8>,
    ) -> Result<Vec<u8>, VfsError> {
        // The kernel asks for this one before the first write to every file. A file that this
        // mount has just made has none, but for one that another mount sets within that moment;
        // it would then outlive the write, as it does on file systems without such a check.
        let inode = self.core.inodes.get(ino);
        if name == CAPABILITY && inode.is_some_and(|inode| inode.bare.load(Relaxed)) {
            return Err(Refusal::NoAttribute.into());
        }
        self.core
            .meta
            .bytes(caller, QueryBody::GetXattr { ino, name })
            .await
    }

    /// The names of the attributes that the caller may see.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn list_xattr(&self, caller: &Caller, ino: Ino) -> Result<Vec<Vec<u8>>, VfsError> {
        let body = QueryBody::ListXattr { ino };
        match self.core.meta.query(caller, body).await? {
            Answer::Names(names) => Ok(names),
            _ => Err(VfsError::Unexpected("attribute names")),
        }
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn set_xattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: Vec<u8>,
        value: Vec<u8>,
        mode: XattrMode,
    ) -> Result<(), VfsError> {
        self.writable()?;
        if let Some(inode) = self.core.inodes.get(ino) {
            inode.bare.store(false, Relaxed);
        }
        let operation = Operation::SetXattr {
            ino,
            name,
            value,
            mode,
        };
        self.core.meta.execute(caller, operation).await.map(|_| ())
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn remove_xattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: Vec<u8>,
    ) -> Result<(), VfsError> {
        self.writable()?;
        let operation = Operation::RemoveXattr { ino, name };
        self.core.meta.execute(caller, operation).await.map(|_| ())
    }
}
