//! Which processes a playground started. Each writes its record itself before it begins (see
//! [`crate::detach`]), so that none can run without one.

use crate::atomic_file;
use crate::process::ProcessId;
use anyhow::Result;
use std::path::Path;

/// The process that a record names, if it still runs.
pub(super) fn alive(record: &Path) -> Result<Option<ProcessId>> {
    let Some(process) = atomic_file::read_json::<ProcessId>(record)? else {
        return Ok(None);
    };
    Ok(process.is_alive()?.then_some(process))
}
