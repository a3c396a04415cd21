//! How long creates take at a share of what the cluster can do, while its nodes flush, compact and take
//! snapshots.

use crate::files::create;
use crate::report;
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::process::cpu_seconds;
use meta_client::bench::{Figures, Sample};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::command::NewNode;
use meta_core::ids::Ino;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the cluster's most is measured: so long that it has to flush and compact meanwhile, too.
const PEAK_TIME: Duration = Duration::from_secs(15);
/// Creates are due in groups of so much time.
const TICK: Duration = Duration::from_millis(1);
/// Creates that wait. A cluster that is further behind cannot do the load.
const WAITING_MAX: usize = 20_000;
/// Requests of a session at once.
const SLOTS: u32 = 1024;

/// Arguments of `bench steady`.
#[derive(Args, Debug)]
pub(crate) struct SteadyArgs {
    /// Creates in flight at once while the most is measured
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// The load, in percent of the most
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u64).range(1..=100))]
    load: u64,
    /// Seconds under load
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    time: u64,
    /// Metadata nodes, each a process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Entries of the log between two snapshots
    #[arg(long, default_value_t = 200_000)]
    snapshot_entries: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &SteadyArgs) -> Result<ExitCode> {
    let options = ClusterOptions {
        snapshot_entries: Some(args.snapshot_entries),
        ..ClusterOptions::new("bench-steady", args.nodes)
    };
    let mut cluster = Cluster::start(options).await?;
    cluster.format("bench").await?;
    let url: MetaUrl = cluster.url("bench").parse()?;
    let options = SessionOptions {
        slots: SLOTS,
        ..SessionOptions::default()
    };
    let session = MetaSession::open(&url, options).await?;
    let names = Arc::new(AtomicU64::new(0));
    let peak = peak(&session, &names, usize::from(args.threads)).await?;
    let mut nodes = Vec::new();
    for id in cluster.ids() {
        nodes.push(cluster.node(id)?.data().to_owned());
    }
    let work_before = Work::of(&nodes)?;
    let cpu_before = cluster.cpu_seconds()? + cpu_seconds(std::process::id())?;
    let rate = peak.rate() * args.load as f64 / 100.0;
    let mut paced = paced(&session, &names, rate, Duration::from_secs(args.time)).await?;
    let cpu = cluster.cpu_seconds()? + cpu_seconds(std::process::id())? - cpu_before;
    let work = Work::of(&nodes)?.since(&work_before);
    session.close().await;
    let longest_us = paced.percentile_us(1.0);
    let figures = Figures {
        threads: usize::from(args.threads),
        operations: vec![paced.operation("create", cpu)],
        floors: vec![peak.floor("peak")],
    };
    report::tell(&figures, args.json, |figures| {
        let mut text = figures.render();
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "the longest create took {:.1} ms; meanwhile the nodes did {} flushes and {} compactions of \
             their state, and took {} snapshots",
            longest_us / 1000.0,
            work.flushes,
            work.compactions,
            work.snapshots
        );
        text
    })
}

async fn one(session: &MetaSession, names: &AtomicU64) -> Result<()> {
    let name = format!("f{}", names.fetch_add(1, Ordering::Relaxed));
    create(session, Ino::ROOT, &name, NewNode::Regular).await?;
    Ok(())
}

/// Creates, so many at once.
async fn peak(session: &MetaSession, names: &Arc<AtomicU64>, threads: usize) -> Result<Sample> {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..threads {
        let (session, names) = (session.clone(), Arc::clone(names));
        tasks.spawn(async move {
            let mut each = Vec::new();
            while begin.elapsed() < PEAK_TIME {
                let start = Instant::now();
                one(&session, &names).await?;
                each.push(start.elapsed());
            }
            Ok::<_, anyhow::Error>(each)
        });
    }
    let mut each = Vec::new();
    for ended in tasks.join_all().await {
        each.extend(ended?);
    }
    let took = begin.elapsed();
    Ok(Sample { took, each })
}

/// Creates at a rate, however long each takes: its time counts from when it was due.
async fn paced(
    session: &MetaSession,
    names: &Arc<AtomicU64>,
    rate: f64,
    time: Duration,
) -> Result<Sample> {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let mut tasks = JoinSet::new();
    let mut each = Vec::new();
    let mut due = 0_u64;
    while begin.elapsed() < time {
        ticks.tick().await;
        while due as f64 / rate <= begin.elapsed().as_secs_f64() {
            let at = begin + Duration::from_secs_f64(due as f64 / rate);
            due += 1;
            let (session, names) = (session.clone(), Arc::clone(names));
            tasks.spawn(async move {
                one(&session, &names).await?;
                Ok::<_, anyhow::Error>(at.elapsed())
            });
        }
        while let Some(ended) = tasks.try_join_next() {
            each.push(ended.map_err(|_| anyhow!("a task panicked"))??);
        }
        ensure!(
            tasks.len() <= WAITING_MAX,
            "{} creates wait: the cluster cannot do {rate:.0} a second for long",
            tasks.len()
        );
    }
    while let Some(ended) = tasks.join_next().await {
        each.push(ended.map_err(|_| anyhow!("a task panicked"))??);
    }
    let took = begin.elapsed();
    Ok(Sample { took, each })
}

/// What nodes did to their states, as far as their files tell.
#[derive(Debug, Default)]
struct Work {
    flushes: u64,
    compactions: u64,
    snapshots: u64,
}

impl Work {
    fn of(nodes: &[PathBuf]) -> Result<Self> {
        let mut work = Self::default();
        for data in nodes {
            work.snapshots += snapshots(&data.join("snapshots"))?;
            for state in std::fs::read_dir(data.join("state"))? {
                let log = state?.path().join("LOG");
                // A file beside the databases has none.
                if log.is_file() {
                    let told = std::fs::read_to_string(&log)
                        .with_context(|| format!("cannot read {}", log.display()))?;
                    work.flushes += told.matches("\"event\": \"flush_finished\"").count() as u64;
                    work.compactions +=
                        told.matches("\"event\": \"compaction_finished\"").count() as u64;
                }
            }
        }
        Ok(work)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            flushes: self.flushes - before.flushes,
            compactions: self.compactions - before.compactions,
            snapshots: self.snapshots - before.snapshots,
        }
    }
}

/// Snapshots that a node ever took: their numbers are dense.
fn snapshots(dir: &Path) -> Result<u64> {
    let mut last = 0;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.rsplit('-').next());
        last = last.max(number.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    Ok(last)
}
