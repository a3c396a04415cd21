//! How storing and reading fail.

use std::io;

/// One operation on an object failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object, or it ends before the range that was asked for.
    #[error("object {key} is missing or too short")]
    Missing {
        /// The object.
        key: String,
    },
    /// The store is full.
    #[error("the object store is full (writing {key}): free space or enlarge it")]
    NoSpace {
        /// The object.
        key: String,
    },
    /// The key could leave the store's directory, or is not one of ours.
    #[error("{key:?} is no key of an object")]
    BadKey {
        /// The key.
        key: String,
    },
    /// The store failed or does not answer; trying again may help.
    #[error("the object store failed to {action} {key}: {why}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The object.
        key: String,
        /// What the store said.
        why: String,
    },
}

impl ObjectError {
    pub(crate) fn io(action: &'static str, key: &str, error: &io::Error) -> Self {
        let key = key.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Self::Missing { key },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { key },
            _ => Self::Failed {
                action,
                key,
                why: error.to_string(),
            },
        }
    }

    /// Whether the same operation may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// A slice could not be stored or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChunkError {
    /// The object store failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The stored bytes are not those that were written: they do not fit their crc.
    #[error("object {key} is damaged in frame {frame}: its bytes do not fit their crc")]
    Damaged {
        /// The object.
        key: String,
        /// The frame in the slice, from 0.
        frame: u32,
    },
    /// The slice says something that cannot be.
    #[error("slice {slice} cannot be read: {why}")]
    BadSlice {
        /// The slice.
        slice: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// The data is more than a slice can hold.
    #[error("a slice holds at most 64 MiB and at least one byte")]
    BadLength,
}

/// A volume's storage description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It is not what this version understands.
    #[error("the volume's storage description cannot be read: {0}")]
    Description(#[from] serde_json::Error),
    /// The store does not open.
    #[error("the object store at {place} does not open: {error}")]
    Open {
        /// Where.
        place: String,
        /// Why not.
        error: io::Error,
    },
}

/// A store failed the check before format.
#[derive(Debug, thiserror::Error)]
#[error("the object store cannot {step}: {why}")]
pub struct CheckError {
    /// `put`, `get`, `list` or `delete`.
    pub step: &'static str,
    /// What went wrong.
    pub why: String,
}
