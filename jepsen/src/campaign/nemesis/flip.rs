//! A node whose files are damaged: in its log, its tables, its snapshots. It must find that out
//! before anybody is told anything wrong, and the others must not care.

use super::fault::{Fault, Hit, Reach};
use super::wipe::administer;
use crate::cluster::{Cluster, Node};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that a node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// What a node says when it stops by itself.
const STOPPED: i32 = 1;

/// A flipped bit, or a file that is cut off, in a node that is killed for it.
#[derive(Default)]
pub(super) struct Flip {
    /// Nodes that found it, while they ran or when they were checked.
    found: u32,
    /// Nodes with nothing wrong in what they read.
    harmless: u32,
}

#[async_trait(?Send)]
impl Fault for Flip {
    fn takes_data(&self) -> bool {
        true
    }

    fn reach(&self) -> Reach {
        Reach::One
    }

    fn lasts_ms(&self) -> Range<u64> {
        500..4_000
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let node = cluster.node(hit.victim()?)?;
        node.kill()?;
        let what = damage(node.data(), hit.first, rng)?;
        println!("nemesis: {what}");
        node.start()?;
        Ok(hit.victims.clone())
    }

    /// A node that has damage anywhere is replaced, so that there is never more than one such.
    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let id = hit.victim()?;
        let node = cluster.node(id)?;
        match sound(node).await? {
            Ok(()) => {
                self.harmless += 1;
                node.start()
            }
            Err(why) => {
                self.found += 1;
                println!("nemesis: node {id} found it: {why}");
                node.wipe()?;
                node.start()?;
                administer(cluster, "replace", id).await
            }
        }
    }

    fn gap(&self) -> Option<String> {
        (self.found == 0).then(|| "no damage was found".to_owned())
    }
}

/// Stops a node, if it has not done so by itself, and says what is wrong with its data.
async fn sound(node: &mut Node) -> Result<Result<(), String>> {
    if node.running()? {
        node.kill()?;
    } else {
        let status = node.wait(STOP_LIMIT).await?;
        let tail = node.log_tail(20);
        // A panic, or an end by a signal, is no finding.
        if status.code() != Some(STOPPED) {
            bail!("a damaged node ended with {status}: {tail}");
        }
        let last = tail.lines().rev().find(|line| !line.is_empty());
        return Ok(Err(last.unwrap_or_default().to_owned()));
    }
    Ok(node.check().map(drop).map_err(|error| format!("{error:#}")))
}

/// Turns a bit over or cuts a file off. Says what it did. What is `certain` is read at each start.
fn damage(dir: &Path, certain: bool, rng: &mut StdRng) -> Result<String> {
    let mut files = Vec::new();
    all_files(dir, &mut files)?;
    if certain {
        files.retain(|path| path.ends_with("log/CURRENT"));
    }
    files.sort();
    let path = files.get(rng.random_range(0..files.len().max(1)));
    let path = path.context("a node without files")?;
    let mut bytes = fs::read(path)?;
    let at = rng.random_range(0..bytes.len());
    let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let what = if certain || rng.random_bool(0.7) {
        bytes[at] ^= 1 << rng.random_range(0..8);
        "a flipped bit"
    } else {
        bytes.truncate(at);
        "cut off"
    };
    fs::write(path, bytes)?;
    Ok(format!("{name}: {what} at {at}"))
}

/// All files that are not empty, but for RocksDB's diaries, which nobody reads.
fn all_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            all_files(&path, files)?;
        } else if name != "LOG" && !name.starts_with("LOG.old") && fs::metadata(&path)?.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}
