//! Many seeds, each in a process of its own.

use crate::run::{RunReport, STALLED};
use anyhow::{Context, Result, bail};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Which seeds, and how many at once.
#[derive(Clone, Copy, Debug)]
pub struct CampaignOptions {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Processes at once.
    pub jobs: usize,
    /// Simulated seconds under faults, of each.
    pub seconds: u64,
}

/// Runs the seeds in order, by the program at `sim`, and hands each report to `done` until that
/// says to stop.
///
/// # Errors
/// If a process cannot be started or ends without a report.
pub fn campaign(
    sim: &Path,
    options: CampaignOptions,
    done: impl FnMut(RunReport) -> Result<bool>,
) -> Result<()> {
    campaign_with(sim, &[], options, done)
}

/// The same, with more arguments for each process.
///
/// # Errors
/// If a process cannot be started or ends without a report.
pub fn campaign_with(
    sim: &Path,
    extra: &[&str],
    options: CampaignOptions,
    mut done: impl FnMut(RunReport) -> Result<bool>,
) -> Result<()> {
    let mut running: Vec<(u64, Child)> = Vec::new();
    let mut seeds = options.first..options.first.saturating_add(options.count);
    let mut going = true;
    loop {
        while going && running.len() < options.jobs.max(1) {
            let Some(seed) = seeds.next() else { break };
            running.push((seed, start(sim, extra, seed, options.seconds)?));
        }
        if running.is_empty() {
            return Ok(());
        }
        // The oldest is waited for: others go on meanwhile.
        let (seed, child) = running.remove(0);
        going &= done(finish(seed, child)?)?;
    }
}

fn start(sim: &Path, extra: &[&str], seed: u64, seconds: u64) -> Result<Child> {
    Command::new(sim)
        .args(["run", "--json", "--seed", &seed.to_string()])
        .args(["--time", &seconds.to_string()])
        .args(extra)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", sim.display()))
}

fn finish(seed: u64, mut child: Child) -> Result<RunReport> {
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    if status.code() == Some(STALLED) {
        return Ok(RunReport::stalled(seed));
    }
    match serde_json::from_str(text.trim()) {
        Ok(report) => Ok(report),
        Err(error) => bail!("seed {seed} gave no report ({status}): {error}"),
    }
}
