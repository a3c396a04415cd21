//! Tests that start many processes take turns on the machine: alone, or beside others of the kind
//! that mostly wait.

use anyhow::{Context, Result};
use std::fs::File;

/// A turn: held while a heavy test runs; the next one waits for it. The system lets go of it when this
/// process ends, in whatever way.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

/// Waits for the turn. Other test programs on this machine take part.
///
/// # Errors
/// When the lock file cannot be made.
pub fn alone() -> Result<Turn> {
    let file = turns()?;
    file.lock().context("cannot lock")?;
    Ok(Turn { _lock: file })
}

/// Waits for the end of those that want to be alone. For tests that mostly wait, for elections or
/// for the next fault: as many run at once as their program has threads for tests.
///
/// # Errors
/// When the lock file cannot be made.
pub fn beside_others() -> Result<Turn> {
    let file = turns()?;
    file.lock_shared().context("cannot lock")?;
    Ok(Turn { _lock: file })
}

fn turns() -> Result<File> {
    let path = std::env::temp_dir().join("curlew-heavy-test.lock");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}
