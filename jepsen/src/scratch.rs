//! The directory of one run. It goes when the run passed, and stays, with its path printed, when
//! it did not.

use anyhow::{Context, Result};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A directory under the system's temporary one.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes one; `name` helps people to recognise it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("curlew-{name}-"))
            .tempdir()
            .context("cannot make a temporary directory")?
            .keep();
        Ok(Self { dir, keep: false })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Leaves the directory behind, for somebody to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep || std::thread::panicking() {
            notice(&format!("logs and data are kept in {}", self.dir.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            notice(&format!("cannot remove {}: {error}", self.dir.display()));
        }
    }
}

/// Says something past the test runner's capture of output.
pub fn notice(text: &str) {
    // There is nobody left to tell when stderr is gone.
    let _gone = writeln!(std::io::stderr(), "{text}");
}
