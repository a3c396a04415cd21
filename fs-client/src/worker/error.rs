//! Why a task was not done.

use crate::vfs::VfsError;
use chunk_store::ObjectError;
use meta_client::DumpError;
use std::io;

/// The task is another mount's, because this one was silent about it for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClaimLost;

impl From<ClaimLost> for BackupError {
    fn from(ClaimLost: ClaimLost) -> Self {
        Self::Lost
    }
}

/// Why a backup was not made. All of it may pass; none of it hurts the mount.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The metadata cluster refuses, or does not answer.
    #[error("the metadata cluster did not take it: {0}")]
    Meta(#[from] VfsError),
    /// Another mount was given the task, because this one was too slow.
    #[error("another mount was given the task meanwhile")]
    Lost,
    /// The dump did not come, or there is no room for it on this machine.
    #[error("the dump was not made: {0}")]
    Dump(#[from] DumpError),
    /// There is no file to keep the dump in until it is uploaded.
    #[error(
        "no file can be made for the dump in {}: {error}; TMPDIR says where such files go",
        dir.display()
    )]
    Spool {
        /// The directory.
        dir: std::path::PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The bucket does not take it.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// The bucket has something else than what was uploaded.
    #[error("{key} has {stored:?} bytes in the bucket and not {bytes}")]
    Differs {
        /// The object.
        key: String,
        /// Its length in the bucket, if it is there.
        stored: Option<u64>,
        /// Bytes of the dump.
        bytes: u64,
    },
    /// The cluster's clock cannot be right.
    #[error("the cluster's clock tells a time that no backup can be named after")]
    Clock,
}
