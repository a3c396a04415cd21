//! Runs the proof, and workloads under faults.

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use jepsen::campaign::{self, CampaignOptions, Nemesis, Outcome, Workload};
use jepsen::checker::Verdict;
use jepsen::demo::{self, DemoOptions};
use jepsen::fixture;
use jepsen::fuzz::{self, FuzzOptions};
use jepsen::network::{Network, NetworkChoice};
use jepsen::power;
use jepsen::process::end_with_proof;
use jepsen::proof::{self, PowerLine};
use jepsen::s3_server;
use jepsen::scratch::notice;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code after SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;
/// The exit code after SIGTERM.
const TERMINATED: u8 = 143;

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
    Run(RunArguments),
    /// Cuts the power of nodes on real file systems, and looks for what was acknowledged
    Power {
        /// How often
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        cycles: u32,
        /// Where randomness begins
        #[arg(long)]
        seed: u64,
    },
    /// Runs the simulation, all workloads under all faults, and power cuts; goes on where it stopped
    Proof {
        /// For how long
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        minutes: u64,
        /// Where what was done is kept, and the reports are written
        #[arg(long, default_value = "proof")]
        dir: PathBuf,
    },
    /// Keeps what a node of this build stores, for later versions to open: `cargo xtask fixture` calls it
    Fixture {
        /// Where; it must not be there
        #[arg(long)]
        dir: PathBuf,
    },
    /// Works on files of a directory as it is told on standard input: what `run` starts, for mounts
    FileWorker {
        /// Where the files are
        #[arg(long)]
        dir: PathBuf,
    },
    /// Does random operations on a real mount and on ext4, and compares all that can be seen
    FuzzMount {
        /// Where randomness begins: plan N is that of seed SEED + N
        #[arg(long)]
        seed: u64,
        /// How many plans
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        plans: u64,
        /// Operations of each
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        operations: u32,
        /// On two mounts of one volume, by turns and at once, instead of one
        #[arg(long)]
        pair: bool,
        /// The second mount reads at the nearest member, in a cluster of three
        #[arg(long, requires = "pair")]
        nearest: bool,
        /// Only prints the plan of SEED, one step a line
        #[arg(long)]
        show: bool,
    },
    /// Does operations as it is told on standard input: what `fuzz-mount` starts
    #[command(hide = true)]
    FuzzWorker {
        /// Whom it runs as
        #[arg(long)]
        process: usize,
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

#[derive(Args, Debug)]
struct RunArguments {
    /// What the clients do
    #[arg(long, value_enum)]
    workload: Workload,
    /// What hurts the cluster
    #[arg(long, value_enum)]
    nemesis: Nemesis,
    /// For how many seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time: u64,
    /// Answered calls, below which the run tells too little
    #[arg(long, default_value_t = 0)]
    calls: u64,
    /// Leaders answer reads under leases
    #[arg(long)]
    lease_reads: bool,
    /// Where randomness begins
    #[arg(long)]
    seed: u64,
    /// What joins the nodes: namespaces where they can be had, else proxies on loopback
    #[arg(long, value_enum, default_value_t)]
    network: NetworkChoice,
    /// Writes what the run gave, as JSON
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> Result<ExitCode> {
    if matches!(command, Command::Run(_) | Command::Power { .. }) {
        end_with_proof()?;
    }
    // Before there is a second thread, which would stay in the network of now.
    let network = match &command {
        Command::Run(arguments) => Network::choose(arguments.network)?,
        _ => Network::Proxies("all else stays on it".to_owned()),
    };
    // These wait in calls that nothing interrupts, and leave nothing behind: a signal ends them as
    // it ends any program. Of a proof's end what it started is told by the system.
    let waits = matches!(
        command,
        Command::Proof { .. } | Command::FileWorker { .. } | Command::FuzzWorker { .. }
    );
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    if waits {
        return runtime.block_on(run(command, network));
    }
    runtime.block_on(unless_told(run(command, network)))
}

/// Waits for the end of some work. On SIGINT or SIGTERM it is dropped, and with it end nodes, mounts
/// and whatever else it has started, and their files go.
async fn unless_told(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let code = tokio::select! {
        // A terminal tells all of us at once, and what the work sees of that is no finding.
        biased;
        _told = interrupt.recv() => INTERRUPTED,
        _told = terminate.recv() => TERMINATED,
        ended = work => return ended,
    };
    notice("jepsen: told to end; what was started has been ended too");
    Ok(ExitCode::from(code))
}

async fn run(command: Command, network: Network) -> Result<ExitCode> {
    let succeeded = match command {
        Command::S3Server { dir, addr } => {
            s3_server::serve(&dir, addr).await?;
            true
        }
        Command::Fixture { dir } => {
            let about = fixture::make(&dir).await?;
            println!("{}", serde_json::to_string(&about)?);
            true
        }
        Command::FuzzMount {
            seed,
            plans,
            operations,
            pair,
            nearest,
            show,
        } => {
            let options = FuzzOptions {
                seed,
                plans,
                operations: operations as usize,
                pair,
                nearest,
            };
            let said = if show {
                fuzz::shown(options)
            } else {
                fuzz::run(options).await?
            };
            println!("{said}");
            true
        }
        Command::FuzzWorker { process } => {
            fuzz::work(process)?;
            true
        }
        Command::FileWorker { dir } => {
            campaign::work_on_files(&dir)?;
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
        Command::Power { cycles, seed } => {
            cut_power(cycles, seed).await?;
            true
        }
        Command::Proof { minutes, dir } => {
            let limit = Duration::from_secs(minutes * 60);
            proof::run(&dir, limit)?
        }
        Command::Run(arguments) => work(arguments, &network).await?,
    };
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn work(arguments: RunArguments, network: &Network) -> Result<bool> {
    let RunArguments {
        workload,
        nemesis,
        time,
        calls,
        lease_reads,
        seed,
        network: _,
        report,
    } = arguments;
    if !workload.fits(nemesis) {
        let why = format!("{nemesis:?} has nothing to hurt in {workload:?}");
        let mut command = Arguments::command();
        command.error(ErrorKind::ArgumentConflict, why).exit();
    }
    let options = CampaignOptions {
        workload,
        nemesis,
        time: Duration::from_secs(time),
        calls_min: calls,
        lease_reads,
        seed,
    };
    // A run that could not be finished says nothing about what it looked for.
    let ended = campaign::run(options, network).await;
    let (verdict, outcome) = ended.unwrap_or_else(|error| {
        let why = format!("{error:#}");
        eprintln!("jepsen: {why}");
        let outcome = Outcome::unfinished(options, &why);
        (Verdict::Unknown(why), outcome)
    });
    if let Some(file) = report {
        std::fs::write(&file, serde_json::to_vec(&outcome)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{}", campaign::last_line(&verdict));
    Ok(verdict.is_ok())
}

async fn cut_power(cycles: u32, seed: u64) -> Result<()> {
    let report = power::cut(cycles, seed).await?;
    let line = PowerLine {
        alone: u64::from(report.alone),
        all: u64::from(report.all),
        acknowledged: report.checked.acknowledged,
    };
    eprintln!("{report:?}");
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::future::pending;
    use std::sync::Arc;

    /// Signals go to the whole process, so both are in one test.
    #[tokio::test]
    async fn work_ends_by_itself_or_is_dropped_when_told() {
        let same = |one: ExitCode, other: u8| {
            assert_eq!(format!("{one:?}"), format!("{:?}", ExitCode::from(other)));
        };
        let ended = unless_told(async { Ok(ExitCode::from(7)) }).await;
        same(ended.expect("ended"), 7);
        for (told, code) in [(Signal::INT, INTERRUPTED), (Signal::TERM, TERMINATED)] {
            let held = Arc::new(());
            let kept = Arc::clone(&held);
            let work = async move {
                // By now somebody waits for it.
                kill_process(getpid(), told)?;
                pending::<()>().await;
                drop(kept);
                anyhow::Ok(ExitCode::SUCCESS)
            };
            let ended = unless_told(work).await;
            same(ended.expect("told"), code);
            assert_eq!(Arc::strong_count(&held), 1, "the work is dropped");
        }
    }
}
