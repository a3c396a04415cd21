//! What was done so far.

use crate::campaign::Outcome;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

/// Violations kept with their words.
const KEPT_MAX: usize = 20;
/// Lines of a program's errors that are kept.
const TAIL_LINES: usize = 20;

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
    /// Which programs all this is of: results of others say nothing about them.
    #[serde(default)]
    pub build: String,
    /// What this machine cannot do, and why.
    #[serde(default)]
    pub skipped: Vec<String>,
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
    /// Takes in what a campaign of `count` seeds from `first` on has said. A seed that is not among it
    /// did not come to an end, which is as bad as one with a violation.
    pub(super) fn add_all(&mut self, first: u64, count: u64, said: &Output) -> Result<()> {
        let mut told = BTreeSet::new();
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            told.insert(self.add(line)?);
        }
        for seed in (first..first + count).filter(|seed| !told.contains(seed)) {
            let errors = String::from_utf8_lossy(&said.stderr);
            let why = format!("gave no report ({}): {}", said.status, tail(&errors));
            self.blame(seed, why);
        }
        self.seeds = first + count - 1;
        Ok(())
    }

    fn blame(&mut self, seed: u64, why: String) {
        if self.violations.len() < KEPT_MAX {
            self.violations.push((seed, why));
        }
    }

    fn add(&mut self, line: &str) -> Result<u64> {
        let line: SimLine = serde_json::from_str(line).context("a line of sim")?;
        self.simulated_ms += line.simulated_ms;
        self.calls += line.calls.0;
        self.unknown += line.calls.2;
        for (kind, count) in line.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if let Some(first) = line.violations.into_iter().next() {
            self.blame(line.seed, first);
        }
        Ok(line.seed)
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

/// The end of what a program has said.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

impl ProofState {
    /// What was done with `build` so far. What was done with another is put aside.
    pub(super) fn load(dir: &Path, build: &str) -> Result<Self> {
        let path = dir.join("state.json");
        let new = Self {
            build: build.to_owned(),
            ..Self::default()
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(new),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let found: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged: delete it to begin anew", path.display()))?;
        if found.build == build {
            return Ok(found);
        }
        let aside = dir.join(format!("state-{}.json", found.build));
        println!(
            "the programs have changed: begun anew; what was proved of the others is in {}",
            aside.display()
        );
        fs::rename(&path, &aside)?;
        Ok(new)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn said(lines: &[&str], code: i32, errors: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: lines.join("\n").into_bytes(),
            stderr: errors.as_bytes().to_vec(),
        }
    }

    fn line(seed: u64, violations: &[&str]) -> String {
        serde_json::json!({
            "seed": seed, "calls": [10, 1, 2], "faults": {"crash": 1}, "simulated_ms": 5,
            "violations": violations,
        })
        .to_string()
    }

    #[test]
    fn a_seed_without_a_report_is_a_violation() {
        let mut totals = SimTotals::default();
        let (one, three) = (line(1, &[]), line(3, &["lost", "twice"]));
        let output = said(&[&one, &three], 1, "it panicked");
        totals.add_all(1, 3, &output).expect("lines");
        assert_eq!((totals.seeds, totals.calls), (3, 20));
        let [(3, lost), (2, why)] = totals.violations.as_slice() else {
            panic!("{totals:?}");
        };
        assert_eq!(lost, "lost");
        assert!(
            why.contains("no report") && why.contains("it panicked"),
            "{why}"
        );
        let nothing = said(&[], 101, "no such file");
        totals.add_all(4, 2, &nothing).expect("no lines");
        assert_eq!((totals.seeds, totals.violations.len()), (5, 4));
    }

    #[test]
    fn what_was_proved_of_other_programs_is_put_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut state = ProofState::load(dir.path(), "one").expect("none yet");
        state.turns = 7;
        state.save(dir.path()).expect("saved");
        let again = ProofState::load(dir.path(), "one").expect("there");
        assert_eq!(again, state);
        let other = ProofState::load(dir.path(), "two").expect("anew");
        assert_eq!((other.turns, other.build.as_str()), (0, "two"));
        assert!(dir.path().join("state-one.json").exists());
    }
}
