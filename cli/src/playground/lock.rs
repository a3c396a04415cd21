//! One command at a time changes a playground.

use super::layout::Layout;
use crate::patience;
use anyhow::{Context, Result, anyhow};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::time::Duration;

/// A start and a stop each end within this.
const LIMIT: Duration = Duration::from_secs(60);

/// The right to change a playground, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) async fn take(layout: &Layout) -> Result<Self> {
        let path = layout.lock_file();
        std::fs::create_dir_all(layout.inside())
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .with_context(|| format!("cannot use {} as a playground", layout.dir().display()))
            .map(|file| Self { _file: file })?
            .acquire(layout)
            .await
    }

    async fn acquire(self, layout: &Layout) -> Result<Self> {
        let taken = patience::until(LIMIT, || {
            flock(&self._file, FlockOperation::NonBlockingLockExclusive).ok()
        });
        match taken.await {
            Some(()) => Ok(self),
            None => Err(anyhow!(
                "another playground command has been at work in {} for {} s; wait for it or end it",
                layout.dir().display(),
                LIMIT.as_secs()
            )),
        }
    }
}
