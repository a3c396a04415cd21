//! Small durable writes, one after the other.

use super::figures::{Floor, Sample};
use std::fs::File;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

/// Bytes of one write.
const RECORD_BYTES: usize = 512;

/// Appends small records to an empty file, each followed by fdatasync, for `time`: what a log cannot do
/// better with one write at a time. It blocks.
///
/// # Errors
/// What the file system says.
pub fn fdatasync(mut file: File, time: Duration) -> io::Result<Floor> {
    let record = [7; RECORD_BYTES];
    let mut each = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let start = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        each.push(start.elapsed());
    }
    let took = begin.elapsed();
    Ok(Sample { took, each }.floor("fdatasync"))
}
