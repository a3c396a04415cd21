//! Keeps other processes out of the log's directory.

use crate::error::StoreError;
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The lock of a directory, for as long as it lives.
///
/// There are two on the one file. That of `flock` is ours. That of `fcntl` is RocksDB's, too, so
/// that builds which keep the log in a database are kept out; the system takes it from a process that closes
/// any descriptor of the file, as RocksDB does.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Arc<Self>, StoreError> {
        let path = dir.join("LOCK");
        let file = File::create(&path).map_err(StoreError::file("create", &path))?;
        let lock = Self { file, path };
        lock.told(flock(&lock.file, FlockOperation::NonBlockingLockExclusive))?;
        lock.keep_databases_out()?;
        Ok(Arc::new(lock))
    }

    /// Takes RocksDB's lock, also again.
    pub(super) fn keep_databases_out(&self) -> Result<(), StoreError> {
        self.told(fcntl_lock(
            &self.file,
            FlockOperation::NonBlockingLockExclusive,
        ))
    }

    fn told(&self, locked: Result<(), Errno>) -> Result<(), StoreError> {
        locked.map_err(|error| match error {
            Errno::WOULDBLOCK | Errno::ACCESS => StoreError::Locked {
                dir: self.path.parent().unwrap_or(&self.path).to_path_buf(),
            },
            other => StoreError::file("lock", &self.path)(other.into()),
        })
    }
}
