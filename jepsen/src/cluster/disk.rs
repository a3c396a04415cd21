//! What a node's disk is made slow or bad with while the node runs. See the crate `disk-faults`.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

/// Three numbers of 8 bytes: how long syncs take, how many fail, how many calls that has hit.
const BYTES: usize = 24;
const DELAY: u64 = 0;
const FAILURES: u64 = 8;
const HITS: u64 = 16;

/// The page that the node's calls look at.
#[derive(Debug)]
pub struct DiskControl(File);

impl DiskControl {
    /// A page of zeros: a good disk.
    pub(super) fn make(path: &Path) -> Result<()> {
        fs::write(path, [0; BYTES]).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = File::options().read(true).write(true).open(path);
        let opened = opened.with_context(|| format!("cannot open {}", path.display()));
        opened.map(Self)
    }

    /// From now on each sync takes so much longer.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub fn slow(&self, by: Duration) -> Result<()> {
        self.set(DELAY, u64::try_from(by.as_micros()).unwrap_or(u64::MAX))
    }

    /// The next syncs of the log fail, so many.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub fn fail(&self, count: u64) -> Result<()> {
        self.set(FAILURES, count)
    }

    /// Calls that were slow or failed since the node was started.
    ///
    /// # Errors
    /// When the page cannot be read.
    pub fn hits(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, HITS)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn set(&self, at: u64, value: u64) -> Result<()> {
        let written = self.0.write_all_at(&value.to_ne_bytes(), at);
        written.context("cannot change a node's disk")
    }
}
