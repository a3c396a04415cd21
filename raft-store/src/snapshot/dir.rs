//! A directory that goes away with its last user.

use crate::durable;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A snapshot's directory. Once marked obsolete it is removed when nobody reads it any more.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    path: PathBuf,
    obsolete: AtomicBool,
}

impl SnapshotDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            obsolete: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_obsolete(&self, obsolete: bool) {
        self.obsolete.store(obsolete, Ordering::Release);
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire)
            && let Err(error) = durable::remove_dir(&self.path)
        {
            // It only costs space, and the next start removes it.
            tracing::warn!(%error, "an old snapshot stays until the next start");
        }
    }
}
