//! Tests that measure time, or that start many processes, take turns on the machine.

use anyhow::{Context, Result};
use std::fs::File;

/// Held while a heavy test runs; the next one waits for it. The system lets go of it when this
/// process ends, in whatever way.
#[derive(Debug)]
pub struct Alone {
    _lock: File,
}

/// Waits for the turn. Other test programs on this machine take part.
///
/// # Errors
/// When the lock file cannot be made.
pub fn alone() -> Result<Alone> {
    let path = std::env::temp_dir().join("curlew-heavy-test.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().context("cannot lock")?;
    Ok(Alone { _lock: file })
}
