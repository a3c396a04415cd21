//! Many seeds, each in a process of its own.

use crate::run::{RunReport, STALLED};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// How the violation of a seed begins whose process gave no report.
pub(crate) const NO_REPORT: &str = "gave no report";
/// Lines of such a process's errors that are told.
const TAIL_LINES: usize = 20;

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
/// says to stop. A process that ends without a report is a violation of its seed.
///
/// # Errors
/// If a process cannot be started, or `done` fails. No process is left then.
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
/// If a process cannot be started, or `done` fails. No process is left then.
pub fn campaign_with(
    sim: &Path,
    extra: &[&str],
    options: CampaignOptions,
    mut done: impl FnMut(RunReport) -> Result<bool>,
) -> Result<()> {
    let mut running: VecDeque<Running> = VecDeque::new();
    let mut seeds = options.first..options.first.saturating_add(options.count);
    let mut going = true;
    loop {
        while going && running.len() < options.jobs.max(1) {
            let Some(seed) = seeds.next() else { break };
            running.push_back(Running::start(sim, extra, seed, options.seconds)?);
        }
        // The oldest is waited for: others go on meanwhile.
        let Some(oldest) = running.pop_front() else {
            return Ok(());
        };
        going &= done(oldest.finish()?)?;
    }
}

/// The process of a seed. It ends at the latest when nobody waits for it any more.
struct Running {
    seed: u64,
    child: Child,
    /// Reads its errors as they come, so that it never has to wait for that, and keeps the last.
    errors: Option<JoinHandle<String>>,
}

impl Running {
    fn start(sim: &Path, extra: &[&str], seed: u64, seconds: u64) -> Result<Self> {
        let mut child = Command::new(sim)
            .args(["run", "--json", "--seed", &seed.to_string()])
            .args(["--time", &seconds.to_string()])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", sim.display()))?;
        let errors = child.stderr.take();
        let errors = errors.map(|errors| std::thread::spawn(move || pass_on(errors)));
        Ok(Self {
            seed,
            child,
            errors,
        })
    }

    fn finish(mut self) -> Result<RunReport> {
        let mut bytes = Vec::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_end(&mut bytes)?;
        }
        let status = self.child.wait()?;
        let errors = match self.errors.take().map(JoinHandle::join) {
            Some(Ok(errors)) => errors,
            // Its reader panicked: there is no standard error to pass it on to.
            Some(Err(_)) | None => String::new(),
        };
        if status.code() == Some(STALLED) {
            return Ok(RunReport::stalled(self.seed));
        }
        match serde_json::from_slice::<RunReport>(&bytes) {
            Ok(report) => Ok(report),
            Err(_) => {
                let violation = format!("{NO_REPORT} ({status}): {errors}");
                Ok(RunReport::without_run(self.seed, violation))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither does anything to one that was waited for.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Tells on standard error what comes, and gives back its last lines.
fn pass_on(errors: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(errors).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        eprintln!("{line}");
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn options(count: u64) -> CampaignOptions {
        CampaignOptions {
            first: 5,
            count,
            jobs: 2,
            seconds: 1,
        }
    }

    fn reports(program: &str) -> Vec<RunReport> {
        let mut reports = Vec::new();
        campaign(Path::new(program), options(3), |report| {
            reports.push(report);
            Ok(true)
        })
        .expect("a program");
        reports
    }

    #[test]
    fn a_process_without_a_report_is_a_violation_of_its_seed_and_the_others_go_on() {
        let reports = reports("false");
        let seeds: Vec<_> = reports.iter().map(|report| report.seed).collect();
        assert_eq!(seeds, [5, 6, 7]);
        for report in &reports {
            let [violation] = report.violations.as_slice() else {
                panic!("{report:?}");
            };
            assert!(violation.starts_with(NO_REPORT), "{violation}");
            assert!(violation.contains("exit status: 1"), "{violation}");
        }
    }

    #[test]
    fn an_end_of_success_without_a_report_is_none_either() {
        let reports = reports("true");
        assert!(reports.iter().all(|report| report.violations.len() == 1));
    }

    #[test]
    fn the_last_lines_of_errors_are_told() {
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        let told = pass_on(lines.join("\n").as_bytes());
        assert_eq!(told, lines[30..].join("\n"));
        assert_eq!(pass_on(&b""[..]), "");
    }

    #[test]
    fn what_breaks_off_a_campaign_is_told() {
        let broken = campaign(Path::new("false"), options(4), |_| bail!("enough"));
        assert!(broken.is_err());
        let missing = campaign(Path::new("/no/such/program"), options(1), |_| Ok(true));
        assert!(missing.is_err());
    }

    #[test]
    fn a_process_that_nobody_waits_for_is_ended() {
        let child = Command::new("sleep").arg("1000").spawn().expect("a child");
        let place = format!("/proc/{}", child.id());
        assert!(Path::new(&place).exists());
        drop(Running {
            seed: 1,
            child,
            errors: None,
        });
        assert!(!Path::new(&place).exists());
    }
}
