//! Names made, changed, looked up and removed through a real cluster, beside what its parts could do
//! at best on the same machine in the same run.

mod step;

use crate::{floor, report};
use anyhow::{Context, Result};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::process::cpu_seconds;
use jepsen::wait;
use meta_client::bench::{Figures, Floor, OperationReport, Sample};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::query::{Answer, QueryBody};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use step::{Files, Step, Work};

/// How long each floor is measured in each round.
const FLOOR_TIME: Duration = Duration::from_secs(2);

/// How long files without names may take to be deleted.
const PATIENCE: Duration = Duration::from_secs(120);

/// Arguments of `bench engine`.
#[derive(Args, Debug)]
pub(crate) struct EngineArgs {
    /// Operations in flight at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Names of each kind in a round
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Metadata nodes, each a process
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Rounds, each with all floors and operations; what is told is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Threads of each node that serve streams and run Raft, if not its default
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    worker_threads: Option<u16>,
    /// Leaders answer reads under a lease
    #[arg(long)]
    lease_reads: bool,
    /// What is removed is deleted at once, and not kept for a day as by default
    #[arg(long)]
    no_trash: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &EngineArgs) -> Result<ExitCode> {
    let threads = usize::from(args.threads);
    let mut cluster = Cluster::start(ClusterOptions {
        worker_threads: args.worker_threads,
        lease_reads: args.lease_reads,
        ..ClusterOptions::new("bench", args.nodes)
    })
    .await?;
    if args.no_trash {
        cluster.format_without_trash("bench").await?;
    } else {
        cluster.format("bench").await?;
    }
    let url: MetaUrl = cluster.url("bench").parse()?;
    let options = SessionOptions {
        slots: u32::from(args.threads),
        queries: u32::from(args.threads),
        ..SessionOptions::default()
    };
    let session = MetaSession::open(&url, options).await?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        if !args.json {
            eprintln!("round {round} of {}", args.rounds);
        }
        // What the round before removed is not deleted at once.
        wait::until("files to be deleted", PATIENCE, async || {
            let told = session.query(Caller::root(), QueryBody::StatVolume).await?;
            Ok(match told {
                Answer::Stat(stat) if stat.orphans == 0 => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await?;
        let floors = floors(cluster.dir(), args.nodes, threads).await?;
        let mut operations = Vec::new();
        let files = Arc::new(Files::default());
        for step in Step::ALL {
            let work = Work::new(&session, step, &files);
            operations.push(measure(&mut cluster, work, threads, args.count).await?);
        }
        rounds.push(Figures {
            threads,
            operations,
            floors,
        });
    }
    session.close().await;
    let figures = Figures::median(rounds).context("there is a round")?;
    report::tell(&figures, args.json, Figures::render)
}

/// The parts of an operation, and what they allow together.
async fn floors(dir: &Path, nodes: u64, threads: usize) -> Result<Vec<Floor>> {
    let own = dir.to_owned();
    let synced = move || floor::fdatasync(&own, FLOOR_TIME);
    let synced = tokio::task::spawn_blocking(synced).await??;
    let echo = floor::echoed(dir, threads, FLOOR_TIME).await?;
    let raft = floor::raft(dir, nodes, threads, FLOOR_TIME).await?;
    let own = dir.to_owned();
    let rows = tokio::task::spawn_blocking(move || floor::rows(&own, threads)).await??;
    let replicas = nodes as f64;
    let seconds = 1.0 / echo.ops_per_s + 1.0 / raft.ops_per_s + replicas / rows.ops_per_s;
    // One alone waits for its client's round trip and for a sync; with followers also for theirs.
    let (round_trips, syncs) = if nodes == 1 { (1.0, 1.0) } else { (2.0, 1.5) };
    let alone = floor::echoed(dir, 1, FLOOR_TIME / 2).await?;
    let composite = Floor {
        floor: "composite",
        count: 0,
        ops_per_s: 1.0 / seconds,
        p50_us: round_trips * alone.p50_us + syncs * synced.p50_us,
        p99_us: round_trips * alone.p99_us + syncs * synced.p99_us,
    };
    Ok(vec![synced, echo, raft, rows, composite])
}

async fn measure(
    cluster: &mut Cluster,
    work: Work,
    threads: usize,
    count: usize,
) -> Result<OperationReport> {
    let own = std::process::id();
    let cpu_before = cluster.cpu_seconds()? + cpu_seconds(own)?;
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let (work, next) = (Arc::clone(&work), Arc::clone(&next));
            tokio::spawn(async move {
                let mut each = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(each);
                    }
                    let start = Instant::now();
                    work.one(number).await?;
                    each.push(start.elapsed());
                }
            })
        })
        .collect();
    let mut each = Vec::with_capacity(count);
    for task in tasks {
        each.extend(task.await.context("a task ended early")??);
    }
    let took = begin.elapsed();
    let cpu = cluster.cpu_seconds()? + cpu_seconds(own)? - cpu_before;
    Ok(Sample { took, each }.operation(work.name(), cpu))
}
