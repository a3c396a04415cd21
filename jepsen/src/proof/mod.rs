//! The long proof: simulated seeds, every workload under every fault, and power cuts, in turns, for
//! as long as it may. What was done is kept, so that the next run goes on from there.

mod page;
mod state;
mod text;

pub use state::{PowerLine, PowerTotals, ProofState, SimTotals};

use crate::campaign::{Nemesis, Outcome, Workload};
use crate::loop_image::loop_missing;
use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Seeds of one turn.
const SEEDS: u64 = 20;
/// Seconds of one history.
const HISTORY_SECONDS: u64 = 25;
/// Answered calls that a history must have.
const HISTORY_CALLS: u64 = 2_000;
/// From one history to the next, at least so many pairs of workload and nemesis are passed over:
/// neighbours are of different kinds.
const STRIDE_MIN: usize = 37;
/// Power cuts of one turn.
const CUTS: u32 = 10;
/// Of so many histories one has leaders that answer reads under leases.
const LEASE_READS_EVERY: usize = 4;
/// Turns of histories for one turn of power cuts.
const HISTORIES_PER_CUTS: usize = 4;

/// A program beside this one.
fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own
        .parent()
        .context("a program lies in a directory")?
        .join(name);
    if !path.exists() {
        bail!("there is no {}: build the workspace first", path.display());
    }
    Ok(path)
}

/// Goes on with the proof in `dir` for as long as `limit`. Says whether nothing is wrong so far.
///
/// # Errors
/// When nothing can be run or kept.
pub fn run(dir: &Path, limit: Duration) -> Result<bool> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut state = ProofState::load(dir, &build()?)?;
    let (pairs, mut skipped) = possible();
    let cuts = loop_missing();
    skipped.extend(cuts.iter().map(|why| format!("power cuts: {why}")));
    for what in &skipped {
        println!("SKIPPED: {what}");
    }
    state.skipped = skipped;
    let mut proof = Proof {
        dir: dir.to_owned(),
        state,
        pairs,
        cuts: cuts.is_none(),
        until: Instant::now() + limit,
        begun: Instant::now(),
        limit,
    };
    proof.go_on()?;
    Ok(proof.state.is_right())
}

struct Proof {
    dir: PathBuf,
    state: ProofState,
    pairs: Vec<(Workload, Nemesis)>,
    /// Whether power can be cut here.
    cuts: bool,
    begun: Instant,
    until: Instant,
    limit: Duration,
}

impl Proof {
    fn go_on(&mut self) -> Result<()> {
        while Instant::now() < self.until {
            let turn = self.state.turns;
            // What went wrong is kept at once: what comes next may fail, or be stopped.
            self.seeds()?;
            self.keep()?;
            if Instant::now() < self.until {
                self.history()?;
                self.keep()?;
            }
            let due = turn % HISTORIES_PER_CUTS == HISTORIES_PER_CUTS - 1;
            if due && self.cuts && Instant::now() < self.until {
                self.cuts()?;
            }
            self.state.turns += 1;
            self.keep()?;
            self.tell_progress();
        }
        println!("{}", text::report(&self.state));
        println!(
            "reports: {0}/report.html, {0}/report.txt",
            self.dir.display()
        );
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        self.state.save(&self.dir)?;
        fs::write(self.dir.join("report.txt"), text::report(&self.state))?;
        fs::write(self.dir.join("report.html"), page::report(&self.state))?;
        Ok(())
    }

    fn tell_progress(&self) {
        println!(
            "{:.0} of {:.0} min: {}",
            self.begun.elapsed().as_secs_f64() / 60.0,
            self.limit.as_secs_f64() / 60.0,
            self.state.summary()
        );
    }

    fn seeds(&mut self) -> Result<()> {
        let first = self.state.sim.seeds + 1;
        let said = Command::new(beside("sim")?)
            .args(["campaign", "--json", "--first", &first.to_string()])
            .args(["--seeds", &SEEDS.to_string()])
            .stdin(Stdio::null())
            .output()
            .context("cannot run sim")?;
        self.state.sim.add_all(first, SEEDS, &said)
    }

    fn history(&mut self) -> Result<()> {
        let number = self.state.histories.len();
        let done = self.state.histories.iter();
        let done = done.map(|outcome| (outcome.workload.as_str(), outcome.nemesis.as_str()));
        let (workload, nemesis) = next_pair(&self.pairs, &done.collect::<Vec<_>>());
        let report = self.dir.join("history.json");
        let _none_before = fs::remove_file(&report);
        let said = Command::new(std::env::current_exe()?)
            .args(["run", "--workload", &kebab(&format!("{workload:?}"))])
            .args(["--nemesis", &kebab(&format!("{nemesis:?}"))])
            .args(["--time", &HISTORY_SECONDS.to_string()])
            .args(["--calls", &HISTORY_CALLS.to_string()])
            .args(["--seed", &(number + 1).to_string()])
            .args(
                number
                    .is_multiple_of(LEASE_READS_EVERY)
                    .then_some("--lease-reads"),
            )
            .arg("--report")
            .arg(&report)
            .stdin(Stdio::null())
            .output()
            .context("cannot run jepsen")?;
        let outcome = match fs::read(&report) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            // It came to no end, which is no pass.
            Err(_) => {
                let errors = String::from_utf8_lossy(&said.stderr);
                let why = format!("gave no report ({}): {}", said.status, state::tail(&errors));
                let time = Duration::from_secs(HISTORY_SECONDS);
                Outcome::lost(workload, nemesis, number as u64 + 1, time, why)
            }
        };
        if outcome.verdict != "ok" {
            let log = self.dir.join(format!("history-{}.log", number + 1));
            fs::write(log, [said.stdout, said.stderr].concat())?;
        }
        self.state.histories.push(outcome);
        Ok(())
    }

    fn cuts(&mut self) -> Result<()> {
        let seed = self.state.power.turns + 1;
        let said = Command::new(std::env::current_exe()?)
            .args(["power", "--cycles", &CUTS.to_string()])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .output()
            .context("cannot run jepsen")?;
        self.state.power.add(&said)?;
        Ok(())
    }
}

/// What there can be histories of: all that fit each other.
fn pairs() -> Vec<(Workload, Nemesis)> {
    let all = Nemesis::ALL.into_iter().flat_map(|nemesis| {
        let fitting = Workload::ALL.into_iter().filter(move |w| w.fits(nemesis));
        fitting.map(move |workload| (workload, nemesis))
    });
    all.collect()
}

/// Those that can be had on this machine, and what cannot.
fn possible() -> (Vec<(Workload, Nemesis)>, Vec<String>) {
    let workloads = Workload::ALL.map(|workload| (format!("{workload:?}"), workload.missing()));
    let nemeses = Nemesis::ALL.map(|nemesis| (format!("{nemesis:?}"), nemesis.missing()));
    let (mut missing, mut skipped) = (Vec::new(), Vec::new());
    for (name, why) in workloads.into_iter().chain(nemeses) {
        if let Some(why) = why {
            skipped.push(format!("{name}: {why}"));
            missing.push(name);
        }
    }
    let has = |name: String| !missing.contains(&name);
    let mut pairs = pairs();
    pairs.retain(|(workload, nemesis)| has(format!("{workload:?}")) && has(format!("{nemesis:?}")));
    (pairs, skipped)
}

/// What the next history is of: of the pairs that were met least, the first one on a way by all.
fn next_pair(pairs: &[(Workload, Nemesis)], done: &[(&str, &str)]) -> (Workload, Nemesis) {
    // Only a stride that has no divisor in common with their number comes by all of them.
    let stride = (STRIDE_MIN..).find(|stride| divisor(*stride, pairs.len()) == 1);
    let stride = stride.unwrap_or(1);
    let order = (0..pairs.len()).map(|number| pairs[number * stride % pairs.len()]);
    let times = |(workload, nemesis): &(Workload, Nemesis)| {
        let name = (format!("{workload:?}"), format!("{nemesis:?}"));
        let same = done
            .iter()
            .filter(|one| **one == (name.0.as_str(), name.1.as_str()));
        same.count()
    };
    order.min_by_key(times).unwrap_or(pairs[0])
}

/// The programs that are proved, by what they are made of.
fn build() -> Result<String> {
    let mut hash = Sha256::new();
    for name in ["sim", "jepsen", "curlew", "curlew-meta"] {
        let mut file = fs::File::open(beside(name)?)?;
        std::io::copy(&mut file, &mut hash)?;
    }
    let hex = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(hex)
}

/// The greatest common divisor (Euclid).
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// `DirectorySet` as `directory-set`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_workload_meets_every_nemesis_that_fits() {
        let pairs = pairs();
        assert!(pairs.len() > 100, "{}", pairs.len());
        let mut met: Vec<(String, String)> = Vec::new();
        for _ in 0..pairs.len() {
            let done: Vec<_> = met.iter().map(|(w, n)| (w.as_str(), n.as_str())).collect();
            let (workload, nemesis) = next_pair(&pairs, &done);
            met.push((format!("{workload:?}"), format!("{nemesis:?}")));
        }
        assert_ne!(met[0].0, met[1].0, "neighbours are of different kinds");
        assert_eq!(met.into_iter().collect::<HashSet<_>>().len(), pairs.len());
    }
}
