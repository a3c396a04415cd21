//! A node with many files: how soon it serves, and what it has in memory.

use super::DensityArgs;
use super::load::{FIRST_INO, Kept, VOLUME};
use crate::files;
use anyhow::{Context, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jepsen::cluster::Cluster;
use jepsen::mount::Mount;
use jepsen::process::{forget_peak, resident};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::command::NewNode;
use meta_core::ids::Ino;
use meta_core::query::{Answer, QueryBody};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Starts of each kind.
const STARTS: u64 = 3;
const IN_FLIGHT: u32 = 64;
/// Files whose attributes are asked for.
const STATS: usize = 300_000;

/// What was found. Bytes unless the name says otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Served {
    pub(super) after_stop_s: Vec<f64>,
    pub(super) after_kill_s: Vec<f64>,
    pub(super) replayed: u64,
    pub(super) cache_bytes: u64,
    pub(super) started: u64,
    pub(super) after_stats: u64,
    pub(super) stats_per_s: f64,
    pub(super) walk: Walk,
}

/// All names, read through a mount.
#[derive(Debug, Serialize)]
pub(super) struct Walk {
    pub(super) node_peak: u64,
    pub(super) mount_before: u64,
    pub(super) mount_peak: u64,
    pub(super) first_entry_ms: f64,
    pub(super) entries_per_s: f64,
}

pub(super) async fn measure(kept: &Kept, args: &DensityArgs) -> Result<Served> {
    let mut cluster = kept.cluster(args.cache_bytes)?;
    start(&mut cluster).await?.close().await;
    let mut after_stop_s = Vec::new();
    for start_number in 1..=STARTS {
        eprintln!("start {start_number} of {STARTS} after a stop");
        let ended = cluster.node(1)?.stop(PATIENCE).await?;
        ensure!(ended.success(), "the node ended with {ended}");
        let begin = Instant::now();
        let session = start(&mut cluster).await?;
        after_stop_s.push(begin.elapsed().as_secs_f64());
        session.close().await;
    }
    let mut after_kill_s = Vec::new();
    for round in 1..=STARTS {
        eprintln!("start {round} of {STARTS} after a kill");
        let session = open(&cluster).await?;
        create(&session, round, args.replay).await?;
        cluster.node(1)?.kill()?;
        let begin = Instant::now();
        start(&mut cluster).await?.close().await;
        after_kill_s.push(begin.elapsed().as_secs_f64());
        session.close().await;
    }
    eprintln!("{STATS} stats");
    let session = restart(&mut cluster).await?;
    let started = resident(cluster.node(1)?.pid()?)?.now;
    let begin = Instant::now();
    stat(&session, kept).await?;
    let stats_per_s = STATS as f64 / begin.elapsed().as_secs_f64();
    let after_stats = resident(cluster.node(1)?.pid()?)?.now;
    session.close().await;
    Ok(Served {
        after_stop_s,
        after_kill_s,
        replayed: args.replay,
        cache_bytes: args.cache_bytes,
        started,
        after_stats,
        stats_per_s,
        walk: walk(&mut cluster, kept).await?,
    })
}

/// Starts the node, and waits until it has answered a question about a file.
pub(super) async fn start(cluster: &mut Cluster) -> Result<MetaSession> {
    cluster.node(1)?.start()?;
    let session = open(cluster).await?;
    let body = QueryBody::GetAttr {
        ino: Ino(FIRST_INO),
    };
    session.query(Caller::root(), body).await?;
    Ok(session)
}

async fn restart(cluster: &mut Cluster) -> Result<MetaSession> {
    let ended = cluster.node(1)?.stop(PATIENCE).await?;
    ensure!(ended.success(), "the node ended with {ended}");
    start(cluster).await
}

/// A session that waits for the node.
pub(super) async fn open(cluster: &Cluster) -> Result<MetaSession> {
    let url: MetaUrl = cluster.url(VOLUME).parse()?;
    let options = SessionOptions {
        slots: IN_FLIGHT,
        queries: IN_FLIGHT,
        ..SessionOptions::default()
    };
    let opened = MetaSession::open(&url, options).await;
    opened.with_context(|| cluster.log_tails(30))
}

/// Makes so many files in the root.
async fn create(session: &MetaSession, round: u64, count: u64) -> Result<()> {
    let making = stream::iter(0..count).map(|number| async move {
        let text = format!("replay.{round}.{number}");
        files::create(session, Ino::ROOT, &text, NewNode::Regular).await
    });
    let in_flight = usize::try_from(IN_FLIGHT)?;
    let mut making = making.buffer_unordered(in_flight);
    while making.try_next().await?.is_some() {}
    Ok(())
}

/// Asks for the attributes of files at random.
async fn stat(session: &MetaSession, kept: &Kept) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    let first = FIRST_INO + kept.about.dirs;
    let files: Vec<u64> = (0..STATS)
        .map(|_| first + rng.random_range(0..kept.about.files))
        .collect();
    let asking = stream::iter(files).map(|ino| async move {
        let body = QueryBody::GetAttr { ino: Ino(ino) };
        match session.query(Caller::root(), body).await? {
            Answer::Attr(_) => Ok(()),
            other => bail!("inode {ino} is {other:?}"),
        }
    });
    let in_flight = usize::try_from(IN_FLIGHT)?;
    asking.buffer_unordered(in_flight).try_collect().await
}

/// Reads every name through a mount.
async fn walk(cluster: &mut Cluster, kept: &Kept) -> Result<Walk> {
    eprintln!("a walk through a mount");
    let point = cluster.dir().join("mount");
    let log = cluster.dir().join("mount.log");
    let mut mount = Mount::start(&cluster.url(VOLUME), &point, &log, &["--no-worker"])?;
    let (node, mounted) = (cluster.node(1)?.pid()?, mount.process().pid());
    let mount_before = resident(mounted)?.now;
    forget_peak(mounted)?;
    forget_peak(node)?;
    let begin = Instant::now();
    let read = tokio::task::spawn_blocking(move || names(&point)).await??;
    let took = begin.elapsed();
    let expected = kept.about.files + kept.about.dirs;
    ensure!(
        read.count >= expected,
        "{} names were read, not {expected}",
        read.count
    );
    let walk = Walk {
        node_peak: resident(node)?.peak,
        mount_before,
        mount_peak: resident(mounted)?.peak,
        first_entry_ms: read.first_entry.as_secs_f64() * 1e3,
        entries_per_s: read.count as f64 / took.as_secs_f64(),
    };
    mount.unmount()?;
    Ok(walk)
}

/// How names were read.
struct Names {
    count: u64,
    /// From the opening of the largest directory to its first name.
    first_entry: Duration,
}

/// Reads all names below a directory that has directories of files.
fn names(top: &Path) -> Result<Names> {
    let mut read = Names {
        count: 0,
        first_entry: Duration::ZERO,
    };
    for entry in std::fs::read_dir(top)? {
        let entry = entry?;
        read.count += 1;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let begin = Instant::now();
        let mut entries = std::fs::read_dir(entry.path())?;
        entries.next().transpose()?;
        read.first_entry = read.first_entry.max(begin.elapsed());
        read.count += 1;
        for entry in entries {
            entry?;
            read.count += 1;
        }
    }
    Ok(read)
}
