//! How an operation of the file system fails.

use chunk_store::{ChunkError, ObjectError};
use meta_core::outcome::Refusal;
use std::sync::Arc;

/// Why an operation was not done, or was not done for sure. It can be cloned, because one failed
/// upload is told to every handle of its file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VfsError {
    /// The engine refused: nothing changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The engine could not be asked, or did not execute: nothing changed.
    #[error("the metadata service failed: {0}")]
    Unavailable(Arc<str>),
    /// Not all nodes understand the request, or it is none: nothing changed.
    #[error("the metadata service does not take this: {0}")]
    NotUnderstood(Arc<str>),
    /// The session was lost, and those opened after it as well: nothing changed.
    #[error("the metadata service failed: {0}")]
    SessionLost(Arc<str>),
    /// The answer was lost for good: it may have been done or not.
    #[error("it is unknown whether this was done: {0}")]
    Unknown(Arc<str>),
    /// Blocks could not be stored or read, or are damaged.
    #[error("the object store failed: {0}")]
    Storage(Arc<str>),
    /// The answer is of another kind than the question: a client older or newer than its server.
    #[error("an answer does not fit its question ({0}): client and server may differ in version")]
    Unexpected(&'static str),
    /// The handle is not open, or not open for this.
    #[error("the handle is not open for this")]
    BadHandle,
    /// The mount is read-only.
    #[error("this mount is read-only")]
    ReadOnly,
    /// The position is past the end of the file.
    #[error("no data behind this position")]
    NoData,
    /// Another lock is in the way.
    #[error("somebody else has a lock there")]
    WouldBlock,
    /// Waiting for the lock would never end.
    #[error("whoever has the lock waits for one of the caller's")]
    Deadlock,
    /// A signal came while the caller waited.
    #[error("interrupted by a signal")]
    Interrupted,
    /// The locks that were taken in this handle are lost with the session that they were in.
    #[error("the session was lost, and with it the locks that this was written under")]
    LockLost,
    /// The mount has ended while this many written bytes waited.
    #[error("{0} written bytes were not stored")]
    Unstored(u64),
    /// The mount is ending.
    #[error("the mount is ending")]
    Stopped,
}

impl VfsError {
    /// What the metadata client could not do.
    pub fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::Unavailable(why.to_string().into())
    }
}

impl From<ChunkError> for VfsError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Object(ObjectError::NoSpace { .. }) => Self::Refused(Refusal::NoSpace),
            error => Self::Storage(error.to_string().into()),
        }
    }
}
