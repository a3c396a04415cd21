//! Extended attributes.

use super::VfsError;
use super::vfs_core::Vfs;
use meta_core::attr::Caller;
use meta_core::command::{Operation, XattrMode};
use meta_core::ids::Ino;
use meta_core::query::{Answer, QueryBody};

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
