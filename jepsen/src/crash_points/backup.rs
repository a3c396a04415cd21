//! The places that a client passes while it backs up its volume's metadata: it ends there, another
//! one takes over, and whatever the bucket then has as a backup is whole.

use super::{PATIENCE, VOLUME, check_end};
use crate::cluster::{Cluster, ClusterOptions};
use crate::mount::Mount;
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use meta_client::Dump;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::failpoint::Point;
use meta_client::meta_core::query::{Answer, Query, QueryBody, VolumeInfo};
use meta_client::meta_core::task::NewBackup;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// All places of this module.
pub const POINTS: [Point; 4] = [
    Point::BackupDumped,
    Point::BackupStored,
    Point::BackupPruned,
    Point::BackupTold,
];
const EVERY: [&str; 2] = ["--backup-meta", "1s"];

/// Ends a mount at each of these places, and lets another one go on. Needs FUSE. Gives how many
/// backups there are in the end, all of which are whole.
///
/// # Errors
/// When a place is not passed, nobody takes over, or a backup is not whole.
pub async fn run() -> Result<usize> {
    let options = ClusterOptions {
        session_ttl_ms: Some(3_000),
        ..ClusterOptions::new("crash-backup", 1)
    };
    let mut cluster = Cluster::start(options).await?;
    cluster.format(VOLUME).await?;
    let (url, dir) = (cluster.url(VOLUME), cluster.dir().to_owned());
    let client = meta_client::Cluster::connect(&cluster.addrs(), PATIENCE).await?;
    let volume = client.find_volume(VOLUME).await?;
    for (round, at) in POINTS.into_iter().enumerate() {
        let (url, dir) = (url.clone(), dir.clone());
        // A file of a mount that has ended is closed by a thread of its own, never by the runtime's.
        let ended = tokio::task::spawn_blocking(move || end_at(&url, &dir, round, at));
        let next = ended.await?;
        let next = next.with_context(|| format!("a mount that ends at {}", at.name()))?;
        let before = last(&client, &volume).await?;
        let made = wait::until("another mount's backup", PATIENCE, async || {
            let last = last(&client, &volume).await?;
            Ok(if last == before {
                Err(format!("{last:?}"))
            } else {
                Ok(())
            })
        });
        made.await?;
        tokio::task::spawn_blocking(move || next.unmount()).await??;
    }
    let told = last(&client, &volume).await?;
    let told = told.context("no backup is told of")?;
    cluster.check_stores(PATIENCE).await?;
    cluster.no_panics()?;
    check(&cluster.objects(), &told)
}

/// Lets a mount end at a place, and starts one that does not.
fn end_at(url: &str, dir: &Path, round: usize, at: Point) -> Result<Mount> {
    let (point, log) = (dir.join("mnt"), dir.join("mount.log"));
    let mut mount = Mount::start_failing(url, &point, &log, &EVERY, at.name())?;
    let status = wait::until_blocking("the mount to end", PATIENCE, || {
        Ok(mount.process().ended()?.ok_or_else(String::new))
    })?;
    check_end(status, &mount.process().log_tail(40), at)?;
    drop(mount);
    let next = Mount::start(url, &point, &log, &EVERY)?;
    // Something is to be backed up.
    fs::write(point.join(round.to_string()), b"more")?;
    Ok(next)
}

async fn last(client: &meta_client::Cluster, volume: &VolumeInfo) -> Result<Option<NewBackup>> {
    let query = Query {
        volume: volume.id,
        caller: Caller::root(),
        body: QueryBody::Backup,
    };
    match client.query(query).await? {
        Answer::Backup(status) => Ok(status.last.map(|last| last.made)),
        other => bail!("a backup is {other:?}"),
    }
}

/// Reads every backup of the bucket from its beginning to its end.
fn check(objects: &Path, told: &NewBackup) -> Result<usize> {
    let mut found = Vec::new();
    find(objects, &mut found)?;
    for path in &found {
        let file = BufReader::new(File::open(path)?);
        let whole = read_all(file);
        whole.with_context(|| format!("{} is not whole", path.display()))?;
    }
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name == told.name.as_str())
    };
    ensure!(
        found.iter().any(named),
        "{} is not in the bucket",
        told.name
    );
    Ok(found.len())
}

/// All backups below a directory.
fn find(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "dump") {
            found.push(path);
        }
    }
    Ok(())
}

fn read_all(file: BufReader<File>) -> Result<()> {
    let mut dump = Dump::open(file)?;
    while dump.page()?.is_some() {}
    Ok(())
}
