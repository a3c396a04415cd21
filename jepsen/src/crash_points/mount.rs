//! The places that a client passes: it ends there while a file is written, and what was synced
//! before is there, byte for byte.

use super::{PATIENCE, check_end};
use crate::cluster::{Cluster, ClusterOptions};
use crate::mount::{Mount, umount};
use anyhow::{Context, Result, ensure};
use meta_client::meta_core::failpoint::Point;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// All places of this module.
pub const POINTS: [Point; 6] = [
    Point::MountServed,
    Point::SliceUpload,
    Point::SliceUploaded,
    Point::SliceCommit,
    Point::SliceCommitted,
    Point::MountFlushed,
];
/// More than fits inline, and not a whole number of frames.
const FILE_BYTES: usize = 300_001;
/// Files before each end.
const FILES: u64 = 3;

/// What the ends left.
#[derive(Clone, Copy, Debug)]
pub struct Survived {
    /// Files that were synced before an end.
    pub synced: usize,
    /// Ends of a mount.
    pub ends: usize,
}

/// Ends a mount at each of these places. Needs FUSE.
///
/// # Errors
/// When a place is not passed, or what was synced is not there.
pub async fn run(seed: u64) -> Result<Survived> {
    let options = ClusterOptions {
        session_ttl_ms: Some(3_000),
        ..ClusterOptions::new("crash-mount", 1)
    };
    let mut cluster = Cluster::start(options).await?;
    cluster.format("vol").await?;
    let (url, dir) = (cluster.url("vol"), cluster.dir().to_owned());
    // A file of a mount that has ended is closed by a thread of its own, never by the runtime's.
    let ended = tokio::task::spawn_blocking(move || all(&url, &dir, seed)).await?;
    cluster.check_stores(PATIENCE).await?;
    cluster.no_panics()?;
    ended
}

fn all(url: &str, dir: &Path, seed: u64) -> Result<Survived> {
    let (point, log) = (dir.join("mnt"), dir.join("mount.log"));
    let mut synced = Vec::new();
    for (round, at) in POINTS.into_iter().enumerate() {
        let numbers = (round as u64 * FILES)..(round as u64 + 1) * FILES;
        let one = end_at(url, &point, &log, at, numbers, seed, &mut synced);
        one.with_context(|| format!("a mount that ends at {}", at.name()))?;
        let mount = Mount::start(url, &point, &log, &[])?;
        for number in &synced {
            let found = fs::read(point.join(number.to_string()))?;
            ensure!(
                found == content(seed, *number),
                "file {number} is not what was synced"
            );
        }
        mount.unmount()?;
    }
    Ok(Survived {
        synced: synced.len(),
        ends: POINTS.len(),
    })
}

/// Files are written until the mount ends, and those that were synced are noted.
fn end_at(
    url: &str,
    point: &Path,
    log: &Path,
    at: Point,
    numbers: std::ops::Range<u64>,
    seed: u64,
    synced: &mut Vec<u64>,
) -> Result<()> {
    // The first two files come through, where there is one passage for each.
    let count = if numbered(at) { 3 } else { 1 };
    let failing = format!("{}:{count}", at.name());
    let mut mount = Mount::start_failing(url, point, log, &[], &failing)?;
    for number in numbers {
        let path = point.join(number.to_string());
        match write(&path, &content(seed, number)) {
            Ok(()) => synced.push(number),
            Err(_it_has_ended) => break,
        }
    }
    if at == Point::MountFlushed {
        let told = umount(point)?;
        ensure!(
            !told.status.success(),
            "an unmount that ended early is told as a good one"
        );
    }
    let status = crate::wait::until_blocking("the mount to end", PATIENCE, || {
        Ok(mount.process().ended()?.ok_or_else(String::new))
    })?;
    check_end(status, &mount.process().log_tail(40), at)
}

/// Whether a mount passes the place once for each file.
fn numbered(at: Point) -> bool {
    !matches!(at, Point::MountServed | Point::MountFlushed)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn content(seed: u64, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    StdRng::seed_from_u64(seed ^ number).fill_bytes(&mut bytes);
    bytes
}
