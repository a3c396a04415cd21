//! Benchmarks, each beside the floor that the machine sets, measured in the same run.

mod beats;
mod density;
mod engine;
mod failover;
mod files;
mod floor;
mod floors;
mod fuse;
mod log;
mod mirror;
mod report;
mod rmr;
mod steady;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(name = "bench", about = "Measures Curlew on this machine", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Keep this process, and all that it starts, on one processor: without the time that it takes to
    /// wake another one
    #[arg(long, global = true)]
    pin: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Kills the leader of a real cluster again and again, and measures each pause of a writer
    Failover(failover::FailoverArgs),
    /// Makes, changes, looks up and removes names through a cluster, beside the speed of its parts
    Engine(engine::EngineArgs),
    /// Calls a mount and a file system that does nothing
    Fuse(fuse::FuseArgs),
    /// Measures the parts alone
    Floors(floors::FloorsArgs),
    /// Appends to a Raft log alone, on each thing that it can be kept in
    Log(log::LogArgs),
    /// Makes a state of millions of files once, and measures what it takes on the disk and in memory, and how
    /// soon it serves
    Density(density::DensityArgs),
    /// Measures how late a mirror is at a steady load, and how fast it catches up
    Mirror(mirror::MirrorArgs),
    /// Removes trees as `curlew rmr` does, beside unlinking their files one by one
    Rmr(rmr::RmrArgs),
    /// Creates files at a share of what the cluster can do, while its nodes flush, compact and take snapshots
    Steady(steady::SteadyArgs),
    /// Answers an echo's requests, for the other commands
    #[command(hide = true)]
    EchoServer(floor::EchoServerArgs),
    /// Is a node of Raft without a machine, for the other commands
    #[command(hide = true)]
    RaftNode(floor::RaftNodeArgs),
    /// Serves a file system that does nothing, for the other commands
    #[command(hide = true)]
    NullFuse(fuse::NullFuseArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = if arguments.pin { pin() } else { Ok(()) };
    // Threads and processes inherit where they run.
    let ended = ended.and_then(|()| tokio::runtime::Runtime::new().context("no runtime"));
    match ended.and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn pin() -> Result<()> {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own).context("cannot ask for the processors")?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.context("there is a processor")?)?;
    sched_setaffinity(own, &one).context("cannot stay on one processor")
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Failover(args) => failover::run(&args).await,
        Command::Engine(args) => engine::run(&args).await,
        Command::Fuse(args) => fuse::run(&args).await,
        Command::NullFuse(args) => {
            tokio::task::spawn_blocking(move || fuse::serve_null(&args)).await?
        }
        Command::Floors(args) => floors::run(&args).await,
        Command::Log(args) => log::run(&args).await,
        Command::EchoServer(args) => floor::serve_echo(&args).await,
        Command::RaftNode(args) => floor::serve_raft(&args).await,
        Command::Density(args) => density::run(&args).await,
        Command::Mirror(args) => mirror::run(&args).await,
        Command::Rmr(args) => rmr::run(&args).await,
        Command::Steady(args) => steady::run(&args).await,
    }
}
