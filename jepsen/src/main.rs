//! Runs the proof, and workloads under faults.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use jepsen::campaign::{self, CampaignOptions, Nemesis, Workload};
use jepsen::demo::{self, DemoOptions};
use jepsen::checker::Verdict;
use jepsen::s3_server;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser, Debug)]
#[command(
    name = "jepsen",
    about = "Drives real Curlew processes under faults",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Copies a real tree into a 3-node playground, kills the leader, and proves that nothing is lost
    Demo {
        /// The playground's directory
        #[arg(long, default_value = "demo")]
        dir: PathBuf,
        /// Where files to copy are found; may be given more than once
        #[arg(long = "tree", required = true)]
        trees: Vec<PathBuf>,
        /// Threads that copy and verify
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
        threads: u8,
    },
    /// Starts a cluster, lets clients work on it under faults, and checks what they were told
    Run {
        /// What the clients do
        #[arg(long, value_enum)]
        workload: WorkloadName,
        /// What hurts the cluster
        #[arg(long, value_enum)]
        nemesis: NemesisName,
        /// For how many seconds
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        time: u64,
        /// Where randomness begins
        #[arg(long)]
        seed: u64,
    },
    /// Serves a directory as S3 on loopback, with fixed keys, until it is ended: for tests only
    S3Server {
        /// Whose directories are the buckets
        #[arg(long)]
        dir: PathBuf,
        /// Where it listens
        #[arg(long)]
        addr: SocketAddr,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorkloadName {
    DirectorySet,
    InodeRegister,
    ExclusiveCreate,
    Rename,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NemesisName {
    None,
    Kill,
    Pause,
    Partition,
}

impl From<WorkloadName> for Workload {
    fn from(name: WorkloadName) -> Self {
        match name {
            WorkloadName::DirectorySet => Self::DirectorySet,
            WorkloadName::InodeRegister => Self::InodeRegister,
            WorkloadName::ExclusiveCreate => Self::ExclusiveCreate,
            WorkloadName::Rename => Self::Rename,
        }
    }
}

impl From<NemesisName> for Nemesis {
    fn from(name: NemesisName) -> Self {
        match name {
            NemesisName::None => Self::None,
            NemesisName::Kill => Self::Kill,
            NemesisName::Pause => Self::Pause,
            NemesisName::Partition => Self::Partition,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    let succeeded = match command {
        Command::S3Server { dir, addr } => {
            s3_server::serve(&dir, addr).await?;
            true
        }
        Command::Demo {
            dir,
            trees,
            threads,
        } => {
            let options = DemoOptions {
                dir,
                trees,
                threads: usize::from(threads),
            };
            demo::run(&options).await?.holds()
        }
        Command::Run {
            workload,
            nemesis,
            time,
            seed,
        } => {
            let (workload, nemesis) = (workload.into(), nemesis.into());
            let time = Duration::from_secs(time);
            let ended = campaign::run(CampaignOptions {
                workload,
                nemesis,
                time,
                seed,
            })
            .await;
            // A run that could not be finished says nothing about what it looked for.
            let verdict = ended.unwrap_or_else(|error| {
                eprintln!("jepsen: {error:#}");
                Verdict::Unknown(format!("{error:#}"))
            });
            println!("{}", campaign::last_line(&verdict));
            verdict.is_ok()
        }
    };
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
