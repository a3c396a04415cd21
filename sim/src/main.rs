//! `sim run`: one seed. `sim campaign`: many.

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use sim::Bug;
use sim::bugs::look_for;
use sim::campaign::{CampaignOptions, campaign};
use sim::run::{RunOptions, RunReport, run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Around the table in docs/proof.md.
const BEGIN: &str = "<!-- begin of the table: sim bugs --into docs/proof.md -->\n";
const END: &str = "<!-- end of the table -->\n";

/// Clusters, clients and faults in one process, repeated by a seed.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed.
    Run(RunArguments),
    /// Runs many seeds, each in a process of its own.
    Campaign(CampaignArguments),
    /// Puts bugs in, one after the other, and says how many seeds find each.
    Bugs(BugsArguments),
}

#[derive(Args)]
struct RunArguments {
    /// Everything random follows from it.
    #[arg(long)]
    seed: u64,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 60)]
    time: u64,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// A bug to put in; only in a build with the feature `seeded-bugs`.
    #[arg(long)]
    bug: Option<String>,
    /// What the nodes log, as in `info,meta_server=debug`; to standard error.
    #[arg(long)]
    log: Option<String>,
}

#[derive(Args)]
struct CampaignArguments {
    /// One JSON object for each seed on stdout.
    #[arg(long)]
    json: bool,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds.
    #[arg(long)]
    seeds: u64,
    /// Processes at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Simulated seconds under faults, of each.
    #[arg(long, default_value_t = 60)]
    time: u64,
}

#[derive(Args)]
struct BugsArguments {
    /// Only bugs whose names contain this.
    #[arg(long, default_value = "")]
    bug: String,
    /// Writes the table into this file, between its two marks.
    #[arg(long)]
    into: Option<PathBuf>,
    /// Seeds at most for each.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// Processes at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Simulated seconds under faults, of each.
    #[arg(long, default_value_t = 60)]
    time: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(arguments) => one(&arguments),
        Command::Campaign(arguments) => many(&arguments),
        Command::Bugs(arguments) => bugs(&arguments),
    }
}

fn one(arguments: &RunArguments) -> Result<ExitCode> {
    sim::seed(arguments.seed);
    if let Some(name) = &arguments.bug {
        put_in(name)?;
    }
    if let Some(filter) = &arguments.log {
        // Of all that filters, this one asks for no random numbers: a seed must be the same run with
        // and without a log.
        let targets: Targets = filter.parse()?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time();
        tracing_subscriber::registry()
            .with(lines.with_filter(targets))
            .init();
    }
    let report = run(RunOptions {
        seed: arguments.seed,
        seconds: arguments.time,
    });
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        tell(&report);
    }
    let code = ExitCode::from(u8::from(!report.violations.is_empty()));
    // Runtimes of crashed hosts are not taken apart once more.
    Ok(code)
}

#[cfg(feature = "seeded-bugs")]
fn put_in(name: &str) -> Result<()> {
    let bug = Bug::ALL.iter().find(|bug| bug.name() == name);
    let bug = bug.with_context(|| format!("there is no bug called `{name}`"))?;
    anyhow::ensure!(sim::choose(*bug), "there is a bug already");
    Ok(())
}

#[cfg(not(feature = "seeded-bugs"))]
fn put_in(name: &str) -> Result<()> {
    anyhow::bail!("`{name}` cannot be put in: this build is without the feature `seeded-bugs`")
}

fn bugs(arguments: &BugsArguments) -> Result<ExitCode> {
    let sim = std::env::current_exe()?;
    let mut missed = 0;
    let mut table = "| bug | sim or jepsen | seeds |\n|---|---|---|\n".to_owned();
    for bug in Bug::ALL {
        if !bug.name().contains(&arguments.bug) {
            continue;
        }
        let found = look_for(&sim, *bug, arguments.seeds, arguments.jobs, arguments.time)?;
        let row = match found.seeds {
            Some(seeds) => format!("| {} | sim | {seeds} |", bug.name()),
            None => format!("| {} | not found | over {} |", bug.name(), arguments.seeds),
        };
        println!("{row}");
        table.push_str(&row);
        table.push('\n');
        missed += u64::from(found.seeds.is_none());
        let first: String = found.violation.chars().take(160).collect();
        eprintln!("{}: {first}", bug.name());
    }
    if let Some(file) = &arguments.into {
        put_between_marks(file, &table)?;
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Replaces what is between the two marks of a file.
fn put_between_marks(file: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let (head, rest) = text
        .split_once(BEGIN)
        .context("the file has no first mark")?;
    let (_, tail) = rest.split_once(END).context("the file has no last mark")?;
    std::fs::write(file, format!("{head}{BEGIN}{table}{END}{tail}"))?;
    Ok(())
}

fn tell(report: &RunReport) {
    for line in &report.story {
        println!("{line}");
    }
    let (calls, answered, unknown) = report.calls;
    let (cached, recalls) = report.cached;
    let (nearest, fallbacks) = report.nearest;
    let (nodes, mirrors) = report.nodes;
    let under_leases = report.lease_reads;
    let faults: u32 = report.faults.values().sum();
    println!(
        "seed {}: {nodes}+{mirrors} nodes, {:.1} s simulated, {faults} faults, {} entries, {calls} \
         calls, {answered} answered, {cached} of them from caches, {recalls} recalls, \
         {nearest} by nearest members and {fallbacks} in their place, {under_leases} reads under \
         leaders' leases, {unknown} unknown, trace {}",
        report.seed,
        report.simulated_ms as f64 / 1000.0,
        report.decided,
        report.trace
    );
    for (reason, count) in &report.ends {
        println!("nodes ended by themselves: {count}, {reason}");
    }
    for violation in &report.violations {
        println!("violation: {violation}");
    }
}

fn many(arguments: &CampaignArguments) -> Result<ExitCode> {
    let options = CampaignOptions {
        first: arguments.first,
        count: arguments.seeds,
        jobs: arguments.jobs,
        seconds: arguments.time,
    };
    let begin = Instant::now();
    let (mut runs, mut wrong, mut simulated_ms) = (0_u64, 0_u64, 0_u64);
    campaign(&std::env::current_exe()?, options, |report| {
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            tell(&report);
        }
        runs += 1;
        wrong += u64::from(!report.violations.is_empty());
        simulated_ms += report.simulated_ms;
        Ok(true)
    })?;
    eprintln!(
        "{runs} seeds, {wrong} with violations, {:.0} s simulated in {:.0} s",
        simulated_ms as f64 / 1000.0,
        begin.elapsed().as_secs_f64()
    );
    Ok(ExitCode::from(u8::from(wrong > 0)))
}
