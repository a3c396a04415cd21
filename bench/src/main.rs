//! Benchmarks, each beside the floor that the machine sets, measured in the same run.

mod create;
mod failover;
mod floor;
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
    /// Creates, looks up and removes names through a cluster, beside the speed of a durable write
    Create(create::CreateArgs),
    /// Measures how late a mirror is at a steady load, and how fast it catches up
    Mirror(mirror::MirrorArgs),
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
        Command::Create(args) => create::run(&args).await,
        Command::Mirror(args) => mirror::run(&args).await,
    }
}
