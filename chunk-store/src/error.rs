//! How storing and reading fail.

use std::io;
use std::path::PathBuf;

/// One operation on an object failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("object {key} is missing")]
    Missing {
        /// The object.
        key: String,
    },
    /// The object ends before the range that was asked for.
    #[error("object {key} is too short: {have} bytes where {wanted} are needed")]
    Short {
        /// The object.
        key: String,
        /// Where the range ends.
        wanted: u64,
        /// What there is.
        have: u64,
    },
    /// Another object has that key. Objects never change, so it is not replaced.
    #[error("object {key} exists with other content and is not replaced")]
    Conflict {
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
    /// The store refuses, and will go on refusing until somebody changes something.
    #[error("the object store refuses to {action} {key}: {why}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The object.
        key: String,
        /// What to do, and what the store said.
        why: String,
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
            // What cannot be written is not missing: the store itself is gone, or unmounted.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if action != "put" => {
                Self::Missing { key }
            }
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
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkError {
    /// The object store refused, or does not have what it should have.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The store kept failing until the time for trying again was over.
    #[error("given up after {attempts} attempts: {last}")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt failed with.
        last: ObjectError,
    },
    /// The stored bytes are not those that were written: they do not fit their crc.
    #[error("object {key} is damaged: frame {frame} of slice {slice} does not fit its crc")]
    Damaged {
        /// The object.
        key: String,
        /// The slice.
        slice: u64,
        /// The frame in the slice, from 0.
        frame: u32,
    },
    /// The slice's row, or the volume, says something that cannot be.
    #[error("slice {slice} cannot be used: {why}")]
    BadSlice {
        /// The slice.
        slice: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// The data is more than a slice can hold, or there is none.
    #[error("a slice holds at least one byte and at most 64 MiB")]
    BadLength,
}

/// A volume's storage cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The description is not what this version understands.
    #[error("the volume's storage description cannot be read: {0}")]
    Description(#[from] serde_json::Error),
    /// The directory is not there. It is not made on the way, because the usual reason is a file
    /// system that is not mounted, and blocks written below its mount point would be lost.
    #[error(
        "the object store's directory {} is not there: make it, or mount its file system",
        .0.display()
    )]
    NotThere(PathBuf),
    /// The store does not open.
    #[error("the object store at {} does not open: {error}", place.display())]
    Open {
        /// Where.
        place: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The bucket was reached and does not know the volume.
    #[error(
        "{0} is not where this volume was made, or was emptied: nothing is written there; check that its \
         address leads to the same store from here"
    )]
    OtherBucket(String),
    /// The bucket cannot be used now.
    #[error("the volume's {place} cannot be used: {error}")]
    Bucket {
        /// Which.
        place: String,
        /// Why not.
        error: ObjectError,
    },
    /// The bucket's URL is not understood. It is not repeated: a key may stand in it.
    #[error(
        "the bucket's URL cannot be used: {0}; write http://HOST:PORT/BUCKET, \
         https://BUCKET.s3.REGION.amazonaws.com or https://s3.REGION.amazonaws.com/BUCKET, each \
         with /PREFIX behind it if wanted"
    )]
    BucketUrl(&'static str),
    /// There are no keys for the store.
    #[error(
        "there are no keys for the object store: set ACCESS_KEY and SECRET_KEY in the environment \
         (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    )]
    NoCredentials,
    /// Of two keys only one is there.
    #[error("{set} is set in the environment and {missing} is not: set both")]
    HalfCredentials {
        /// The variable that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A variable's value cannot be what it should be.
    #[error(
        "{0} in the environment holds a letter that it cannot have, perhaps a space or the end of \
         a line: correct it"
    )]
    Variable(&'static str),
}

/// A store failed the check before format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the object store cannot {step}: {why}")]
pub struct CheckError {
    /// `put`, `get`, `list` or `delete`.
    pub step: &'static str,
    /// What went wrong.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(action: &'static str, errno: rustix::io::Errno) -> ObjectError {
        ObjectError::io(action, "a", &errno.into())
    }

    #[test]
    fn a_full_store_is_told_apart_from_a_failing_one() {
        use rustix::io::Errno;
        let key = "a".to_owned();
        for full in [Errno::NOSPC, Errno::DQUOT] {
            let error = of("put", full);
            assert_eq!(error, ObjectError::NoSpace { key: key.clone() });
            assert!(!error.may_pass());
        }
        assert!(of("put", Errno::IO).may_pass());
        assert!(of("put", Errno::NOENT).may_pass());
        assert_eq!(of("get", Errno::NOENT), ObjectError::Missing { key });
    }
}
