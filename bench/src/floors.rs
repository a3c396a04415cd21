//! The parts of the engine alone.

use crate::{floor, report};
use anyhow::{Context, Result};
use clap::Args;
use meta_client::bench::{Figures, Floor};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Arguments of `bench floors`.
#[derive(Args, Debug)]
pub(crate) struct FloorsArgs {
    /// Operations in flight at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Nodes of Raft, each a process
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Seconds for each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    time: u64,
    /// Which parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Parts, in the order in which they are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Part {
    /// One small durable write after the other
    Fdatasync,
    /// The way to a server that does nothing
    Echo,
    /// Durable Raft with a machine that does nothing
    Raft,
    /// The rows of creates
    Rows,
    /// Commands applied to a node's database, without a log
    Apply,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Fdatasync,
        Self::Echo,
        Self::Raft,
        Self::Rows,
        Self::Apply,
    ];
}

/// Measures them, one after the other.
pub(crate) async fn run(args: &FloorsArgs) -> Result<ExitCode> {
    let scratch = tempfile::Builder::new().prefix("curlew-floors-").tempdir();
    let scratch = scratch.context("cannot make a directory")?;
    let mut floors = Vec::new();
    for part in Part::ALL
        .into_iter()
        .filter(|part| args.parts.contains(part))
    {
        floors.extend(measure(args, part, scratch.path()).await?);
    }
    let figures = Figures {
        threads: usize::from(args.threads),
        operations: Vec::new(),
        floors,
    };
    report::tell(&figures, args.json, Figures::render)
}

async fn measure(args: &FloorsArgs, part: Part, dir: &Path) -> Result<Vec<Floor>> {
    let (threads, time) = (usize::from(args.threads), Duration::from_secs(args.time));
    let own = dir.to_owned();
    let one = match part {
        Part::Fdatasync => spawn_blocking(move || floor::fdatasync(&own, time)).await??,
        Part::Echo => floor::echoed(dir, threads, time).await?,
        Part::Raft => floor::raft(dir, args.nodes, threads, time).await?,
        Part::Rows => spawn_blocking(move || floor::rows(&own, threads)).await??,
        Part::Apply => return spawn_blocking(move || floor::applied(&own, threads)).await?,
    };
    Ok(vec![one])
}
