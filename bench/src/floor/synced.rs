//! One small durable write after the other.

use anyhow::{Context, Result};
use meta_client::bench::Floor;
use std::path::Path;
use std::time::Duration;

/// Such writes into a file in `dir`, for `time`.
pub(crate) fn fdatasync(dir: &Path, time: Duration) -> Result<Floor> {
    let file = tempfile::tempfile_in(dir).context("cannot make the floor's file")?;
    meta_client::bench::fdatasync(file, time).context("cannot write the floor's file")
}
