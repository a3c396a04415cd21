//! Benchmarks, each beside the floor that the machine sets, measured in the same run.

mod engine;
mod failover;
mod floor;
mod floors;
mod mirror;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(name = "bench", about = "Measures Curlew on this machine", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Kills the leader of a real cluster again and again, and measures each pause of a writer
    Failover(failover::FailoverArgs),
    /// Makes, changes, looks up and removes names through a cluster, beside the speed of its parts
    Engine(engine::EngineArgs),
    /// Measures the parts alone
    Floors(floors::FloorsArgs),
    /// Measures how late a mirror is at a steady load, and how fast it catches up
    Mirror(mirror::MirrorArgs),
    /// Answers an echo's requests, for the other commands
    #[command(hide = true)]
    EchoServer(floor::EchoServerArgs),
    /// Is a node of Raft without a machine, for the other commands
    #[command(hide = true)]
    RaftNode(floor::RaftNodeArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Failover(args) => failover::run(&args).await,
        Command::Engine(args) => engine::run(&args).await,
        Command::Floors(args) => floors::run(&args).await,
        Command::EchoServer(args) => floor::serve_echo(&args).await,
        Command::RaftNode(args) => floor::serve_raft(&args).await,
        Command::Mirror(args) => mirror::run(&args).await,
    }
}
