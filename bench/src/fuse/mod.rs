//! A mount beside a file system that does nothing: the same calls of the same number of threads, one
//! after the other in the same run.

mod null;
mod step;

pub(crate) use null::{NullFuseArgs, serve_null};

use crate::{floor, report};
use anyhow::{Context, Result, bail};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::fuse_missing;
use jepsen::mount::{Mount, is_mounted};
use jepsen::process::{Process, cpu_seconds};
use jepsen::wait;
use meta_client::bench::{Figures, Floor, Sample};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use step::Step;
use tokio::task::spawn_blocking;

const PATIENCE: Duration = Duration::from_secs(20);
/// How long an echo is measured in each round.
const ECHO_TIME: Duration = Duration::from_secs(2);

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

/// Runs the benchmark.
pub(crate) async fn run(args: &FuseArgs) -> Result<ExitCode> {
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
    let mut served = Served {
        cluster,
        mount: Some(mount),
    };
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        if !args.json {
            eprintln!("round {round} of {}", args.rounds);
        }
        match measure(args, &null, &own, &mut served).await {
            Ok(round) => rounds.push(round),
            Err(error) => {
                unmount_null(&null)?;
                return Err(error);
            }
        }
    }
    served.unmount()?;
    unmount_null(&null)?;
    serving.wait(PATIENCE).await?;
    let figures = Figures::median(rounds).context("there is a round")?;
    report::tell(&figures, args.json, render)
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

async fn measure(args: &FuseArgs, null: &Path, own: &Path, served: &mut Served) -> Result<Figures> {
    let (mut operations, mut floors) = (Vec::new(), Vec::new());
    for step in Step::ALL {
        let floor = calls(args, step, null).await?.floor(step.null());
        floors.push(if step == Step::Cold {
            served.remount()?;
            behind_an_echo(floor, args, &served.cluster).await?
        } else {
            floor
        });
        let before = served.cpu_seconds()?;
        let sample = calls(args, step, own).await?;
        operations.push(sample.operation(step.name(), served.cpu_seconds()? - before));
    }
    Ok(Figures {
        threads: usize::from(args.threads),
        operations,
        floors,
    })
}

/// What a call that has to ask a server can do at best: it does nothing here and nothing there.
async fn behind_an_echo(here: Floor, args: &FuseArgs, cluster: &Cluster) -> Result<Floor> {
    let echo = floor::echoed(cluster.dir(), usize::from(args.threads), ECHO_TIME).await?;
    Ok(Floor {
        ops_per_s: 1.0 / (1.0 / here.ops_per_s + 1.0 / echo.ops_per_s),
        p50_us: here.p50_us + echo.p50_us,
        p99_us: here.p99_us + echo.p99_us,
        ..here
    })
}

async fn calls(args: &FuseArgs, step: Step, point: &Path) -> Result<Sample> {
    let (point, threads) = (point.to_owned(), usize::from(args.threads));
    let count = args.count;
    spawn_blocking(move || step.run(&point, threads, count)).await?
}

/// The processes behind the mount, and this one.
struct Served {
    cluster: Cluster,
    /// Always there, but between two mounts.
    mount: Option<Mount>,
}

impl Served {
    /// A mount that knows nothing takes the place of this one.
    fn remount(&mut self) -> Result<()> {
        let point = self.mounted()?.path().to_owned();
        self.unmount()?;
        let log = self.cluster.dir().join("mount.log");
        self.mount = Some(Mount::start(&self.cluster.url("bench"), &point, &log, &[])?);
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        self.mount.take().map_or(Ok(()), Mount::unmount)
    }

    fn mounted(&mut self) -> Result<&mut Mount> {
        self.mount.as_mut().context("there is a mount")
    }

    fn cpu_seconds(&mut self) -> Result<f64> {
        let mount = self.mounted()?.process().cpu_seconds()?;
        Ok(self.cluster.cpu_seconds()? + mount + cpu_seconds(std::process::id())?)
    }
}

/// Each kind of call beside its own floor.
fn render(figures: &Figures) -> String {
    let mut text = format!(
        "{:10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12} {:>8}\n",
        "", "per s", "p50 us", "p99 us", "cpu s/1000", "null per s", "null p50 us", "x null"
    );
    for (op, null) in figures.operations.iter().zip(&figures.floors) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{:10} {:>10.0} {:>10.1} {:>10.1} {:>12.4} {:>12.0} {:>12.1} {:>8.2}",
            op.op,
            op.ops_per_s,
            op.p50_us,
            op.p99_us,
            op.cpu_s_per_1000,
            null.ops_per_s,
            null.p50_us,
            op.ops_per_s / null.ops_per_s
        );
    }
    text
}
