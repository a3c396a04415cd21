//! A mount beside a file system that does nothing: the same calls of the same number of threads, one
//! after the other in the same run.

mod null;
mod step;

pub(crate) use null::{NullFuseArgs, serve_null};

use anyhow::{Context, Result, bail};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::fuse_missing;
use jepsen::mount::{Mount, is_mounted};
use jepsen::process::Process;
use jepsen::wait;
use meta_client::bench::Sample;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use step::Step;
use tokio::task::spawn_blocking;

const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `bench fuse`.
#[derive(Args, Debug)]
pub(crate) struct FuseArgs {
    /// Threads that call
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Files
    #[arg(long, default_value_t = 5_000)]
    count: usize,
    /// Metadata nodes, each a process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Rounds; what is told is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One kind of call, on both.
#[derive(Clone, Debug, Serialize)]
struct Compared {
    op: &'static str,
    ops_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    null_ops_per_s: f64,
    null_p50_us: f64,
    /// The mount's rate as a share of the other's.
    share: f64,
}

#[derive(Serialize)]
struct Report {
    threads: u16,
    pinned: bool,
    operations: Vec<Compared>,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &FuseArgs, pinned: bool) -> Result<ExitCode> {
    if let Some(why) = fuse_missing() {
        bail!("mounts cannot be had here: {why}");
    }
    let cluster = Cluster::start(ClusterOptions::new("bench-fuse", args.nodes)).await?;
    let dir = cluster.dir().to_owned();
    let (null, own) = (dir.join("null"), dir.join("mount"));
    std::fs::create_dir_all(&null)?;
    cluster.format("bench").await?;
    let mut serving = start_null(&dir, &null, args.count).await?;
    let mount = Mount::start(&cluster.url("bench"), &own, &dir.join("mount.log"), &[])?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        if !args.json {
            eprintln!("round {round} of {}", args.rounds);
        }
        match measure(args, &null, &own).await {
            Ok(round) => rounds.push(round),
            Err(error) => {
                unmount_null(&null)?;
                return Err(error);
            }
        }
    }
    mount.unmount()?;
    unmount_null(&null)?;
    serving.wait(PATIENCE).await?;
    let report = Report {
        threads: args.threads,
        pinned,
        operations: medians(rounds),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", render(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

async fn start_null(dir: &Path, point: &Path, count: usize) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("null-fuse").arg("--point").arg(point);
    command.arg("--count").arg(count.to_string());
    let serving = Process::spawn("the null", &mut command, &dir.join("null.log"))?;
    wait::until("the null to be mounted", PATIENCE, async || {
        Ok(is_mounted(point)?.then_some(()).ok_or(String::new()))
    })
    .await?;
    Ok(serving)
}

fn unmount_null(point: &Path) -> Result<()> {
    // Without root only the helper that mounted it may do it.
    for command in [&["umount"][..], &["fusermount3", "-u"]] {
        let [program, options @ ..] = command else {
            continue;
        };
        let ended = Command::new(program).args(options).arg(point).output();
        if ended.is_ok_and(|ended| ended.status.success()) {
            return Ok(());
        }
    }
    bail!("{} cannot be unmounted: do so by hand", point.display())
}

async fn measure(args: &FuseArgs, null: &Path, own: &Path) -> Result<Vec<Compared>> {
    let mut all = Vec::new();
    for step in Step::ALL {
        let mut both = Vec::new();
        for point in [null, own] {
            let (point, threads) = (point.to_owned(), usize::from(args.threads));
            let count = args.count;
            both.push(spawn_blocking(move || step.run(&point, threads, count)).await??);
        }
        all.push(compared(step, both)?);
    }
    Ok(all)
}

fn compared(step: Step, both: Vec<Sample>) -> Result<Compared> {
    let [mut null, mut own] = <[Sample; 2]>::try_from(both).ok().context("two samples")?;
    Ok(Compared {
        op: step.name(),
        ops_per_s: own.rate(),
        p50_us: own.percentile_us(0.5),
        p99_us: own.percentile_us(0.99),
        null_ops_per_s: null.rate(),
        null_p50_us: null.percentile_us(0.5),
        share: own.rate() / null.rate(),
    })
}

/// Of each kind the round with the median share.
fn medians(rounds: Vec<Vec<Compared>>) -> Vec<Compared> {
    let kinds = rounds.first().map_or(0, Vec::len);
    let of = |kind: usize| {
        let mut same: Vec<&Compared> = rounds.iter().filter_map(|all| all.get(kind)).collect();
        same.sort_by(|a, b| a.share.total_cmp(&b.share));
        same.get(same.len() / 2).map(|median| (*median).clone())
    };
    (0..kinds).filter_map(of).collect()
}

fn render(report: &Report) -> Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "{:10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>8}",
        "", "per s", "p50 us", "p99 us", "null per s", "null p50 us", "x null"
    )?;
    for op in &report.operations {
        writeln!(
            text,
            "{:10} {:>10.0} {:>10.1} {:>10.1} {:>12.0} {:>12.1} {:>8.2}",
            op.op, op.ops_per_s, op.p50_us, op.p99_us, op.null_ops_per_s, op.null_p50_us, op.share
        )?;
    }
    Ok(text)
}
