//! What can go wrong in a store.

use meta_core::outcome::Fatal;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store in {} is in use by another process; stop it, or give this node its own data_dir",
        dir.display()
    )]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// The operation.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// RocksDB failed.
    #[error("RocksDB failed to {what}: {message}")]
    Rocks {
        /// The operation.
        what: &'static str,
        /// What RocksDB said.
        message: String,
    },
    /// Bytes are not what was written.
    #[error(
        "damaged {what}: {why}; this node's data cannot be trusted: leave the node stopped, and \
         do not start it with an empty data_dir, for it would vote as if it had never promised \
         anything; restore data_dir as it was when the node stopped"
    )]
    Damaged {
        /// Which part of the store.
        what: &'static str,
        /// What does not fit.
        why: String,
    },
    /// A snapshot was refused; the store is as it was.
    #[error("the snapshot is refused: {0}")]
    Snapshot(String),
    /// The caller asked for what the store must not do.
    #[error("refused: {0}")]
    Refused(String),
    /// An earlier failure stopped the store.
    #[error("the store stopped after a failure: {0}; restart the node")]
    Poisoned(String),
    /// The state machine met something it cannot go on with.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl StoreError {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { what, path, source }
    }

    pub(crate) fn damaged(what: &'static str, why: impl Into<String>) -> Self {
        Self::Damaged {
            what,
            why: why.into(),
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}

impl From<StoreError> for Fatal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fatal(fatal) => fatal,
            other => Self::Store(other.to_string()),
        }
    }
}
