//! Many files: what they take on the disk and in memory, how soon a node serves them, and how a cluster
//! grows with them.

mod growth;
mod load;
mod names;
mod serve;

use anyhow::{Result, ensure};
use clap::Args;
use growth::Growth;
use load::{About, Kept};
use serde::Serialize;
use serve::Served;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `bench density`.
#[derive(Args, Debug)]
pub(crate) struct DensityArgs {
    /// Empty files
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000_000))]
    files: u64,
    /// Directories that they are in
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    dirs: u64,
    /// Where states are kept, to be used again
    #[arg(long, default_value = "target/density")]
    dir: PathBuf,
    /// Files that are created before a node is killed, for it to replay
    #[arg(long, default_value_t = 100_000)]
    replay: u64,
    /// Bytes of the node's cache of rows
    #[arg(long, default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(8 << 20..=1 << 40))]
    cache_bytes: u64,
    /// Let two more nodes join, under a writer, and kill the leader then
    #[arg(long)]
    grow: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    state: About,
    served: Served,
    growth: Option<Growth>,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &DensityArgs) -> Result<ExitCode> {
    ensure!(args.files >= args.dirs, "more directories than files");
    let kept = Kept::find_or_make(&args.dir, args.files, args.dirs).await?;
    let served = serve::measure(&kept, args).await?;
    let growth = if args.grow {
        Some(growth::measure(&kept, args).await?)
    } else {
        None
    };
    let report = Report {
        state: kept.about,
        served,
        growth,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.render());
    }
    Ok(ExitCode::SUCCESS)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{name:44} {value}");
        };
        let (state, served) = (&self.state, &self.served);
        let each = |bytes: u64| format!("{:.1} bytes", bytes as f64 / state.files as f64);
        line("files", format!("{} in {}", state.files, state.dirs));
        line(
            "commands applied",
            format!("{:.0} per s", state.commands_per_s),
        );
        line("a file on the disk, as loaded", each(state.loaded_bytes));
        line("a file on the disk, compacted", each(state.compacted_bytes));
        line(
            "changelog",
            format!("{:.0} MiB", mib(state.changelog_bytes)),
        );
        let times = |times: &[f64]| {
            let times: Vec<String> = times.iter().map(|s| format!("{s:.2}")).collect();
            format!("{} s", times.join(", "))
        };
        line("serving after a stop", times(&served.after_stop_s));
        line("serving after a kill", times(&served.after_kill_s));
        line(
            "  with so many creates to replay",
            served.replayed.to_string(),
        );
        let memory = |bytes: u64| format!("{:.0} MiB", mib(bytes));
        line("node: cache of rows", memory(served.cache_bytes));
        line("node: resident at its start", memory(served.started));
        line("node: resident after stats", memory(served.after_stats));
        line(
            "node: stats at random",
            format!("{:.0} per s", served.stats_per_s),
        );
        line(
            "node: peak in a walk through a mount",
            memory(served.walk.node_peak),
        );
        line("mount: resident before", memory(served.walk.mount_before));
        line("mount: peak in the walk", memory(served.walk.mount_peak));
        line(
            "slowest first entry of a directory",
            format!("{:.2} ms", served.walk.first_entry_ms),
        );
        line("entries", format!("{:.0} per s", served.walk.entries_per_s));
        if let Some(growth) = &self.growth {
            growth.render(&mut line);
        }
        text
    }
}
