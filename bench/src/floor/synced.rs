//! What the machine does without Curlew.

use anyhow::{Context, Result};
use meta_client::bench::{Floor, Sample};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends small records to a file, each followed by fdatasync: what a log cannot do better with
/// one write at a time.
pub(crate) fn fdatasync(dir: &Path, run: Duration) -> Result<Floor> {
    let path = dir.join("floor");
    let mut file = File::create(&path).context("cannot make the floor's file")?;
    let record = [7_u8; 512];
    let mut each = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < run {
        let start = Instant::now();
        file.write_all(&record)
            .context("cannot write the floor's file")?;
        file.sync_data().context("cannot sync the floor's file")?;
        each.push(start.elapsed());
    }
    Ok(Sample {
        took: begin.elapsed(),
        each,
    }
    .floor("fdatasync"))
}
