//! What was done so far.

use crate::campaign::Outcome;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Violations kept with their words.
const KEPT_MAX: usize = 20;

/// Simulated seeds.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct SimTotals {
    /// Seeds done: 1 up to this.
    pub seeds: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Calls with unknown ends.
    pub unknown: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Seeds with violations, and what did not hold.
    pub violations: Vec<(u64, String)>,
}

/// Power cuts.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct PowerTotals {
    /// Turns done.
    pub turns: u64,
    /// Cuts of one node's power.
    pub alone: u64,
    /// Cuts of all at once.
    pub all: u64,
    /// Acknowledged operations that were looked for afterwards.
    pub acknowledged: u64,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct ProofState {
    /// Turns done.
    pub turns: usize,
    /// The simulation.
    pub sim: SimTotals,
    /// Histories of real processes.
    pub histories: Vec<Outcome>,
    /// Real file systems.
    pub power: PowerTotals,
}

/// A line of `sim campaign --json`, as far as it is of interest here.
#[derive(Deserialize)]
struct SimLine {
    seed: u64,
    calls: (u64, u64, u64),
    faults: BTreeMap<String, u64>,
    simulated_ms: u64,
    violations: Vec<String>,
}

/// The line of `jepsen power`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PowerLine {
    /// Cuts of one node's power.
    pub alone: u64,
    /// Cuts of all at once.
    pub all: u64,
    /// Acknowledged operations.
    pub acknowledged: u64,
}

impl SimTotals {
    pub(super) fn add(&mut self, line: &str) -> Result<()> {
        let line: SimLine = serde_json::from_str(line).context("a line of sim")?;
        self.seeds = self.seeds.max(line.seed);
        self.simulated_ms += line.simulated_ms;
        self.calls += line.calls.0;
        self.unknown += line.calls.2;
        for (kind, count) in line.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if let Some(first) = line.violations.into_iter().next()
            && self.violations.len() < KEPT_MAX
        {
            self.violations.push((line.seed, first));
        }
        Ok(())
    }
}

impl PowerTotals {
    pub(super) fn add(&mut self, said: &Output) -> Result<()> {
        self.turns += 1;
        let text = String::from_utf8_lossy(&said.stdout);
        match text.lines().last() {
            Some(line) if said.status.success() => {
                let line: PowerLine = serde_json::from_str(line).context("a line of power")?;
                self.alone += line.alone;
                self.all += line.all;
                self.acknowledged += line.acknowledged;
            }
            _ if self.failures.len() < KEPT_MAX => {
                let why = String::from_utf8_lossy(&said.stderr).into_owned();
                self.failures.push(format!("turn {}: {why}", self.turns));
            }
            _ => {}
        }
        Ok(())
    }
}

impl ProofState {
    pub(super) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("state.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged: delete it to begin anew", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let new = dir.join("state.json.new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, dir.join("state.json")).context("cannot keep what was done")
    }

    /// Histories with another verdict than ok.
    pub fn wrong_histories(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        let numbered = self.histories.iter().enumerate();
        numbered.filter(|(_, outcome)| outcome.verdict != "ok")
    }

    /// Whether everything so far is as promised.
    pub fn is_right(&self) -> bool {
        self.sim.violations.is_empty()
            && self.power.failures.is_empty()
            && self.wrong_histories().next().is_none()
    }

    /// All in one line.
    pub fn summary(&self) -> String {
        format!(
            "{} seeds ({:.1} h simulated, {} violations), {} histories ({} not ok), {} power cuts \
             ({} of all nodes, {} failures)",
            self.sim.seeds,
            self.sim.simulated_ms as f64 / 3_600_000.0,
            self.sim.violations.len(),
            self.histories.len(),
            self.wrong_histories().count(),
            self.power.alone + self.power.all,
            self.power.all,
            self.power.failures.len(),
        )
    }
}
