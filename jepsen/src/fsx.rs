//! fsx, an exerciser of what a file holds: one file, and under a seed random reads, writes, maps,
//! truncations and copies of it. Each read is compared with what must be there.

use crate::binaries::tool;
use crate::process::{Process, log_tail};
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the next step that is waited for may take, and the end.
const PATIENCE: Duration = Duration::from_secs(120);
/// What it says when everything was as it must be.
const DONE: &str = "All operations completed A-OK!";
/// Lines that it says about an error before it lists what it did last.
const ERROR_LINES: usize = 12;

/// A running exerciser. Dropping it kills it.
#[derive(Debug)]
pub struct Fsx {
    process: Process,
    log: PathBuf,
    /// Bytes of the log that were looked at.
    seen: u64,
    step: u64,
}

/// The file with the shares of the operations and the sizes.
pub fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fsx.toml")
}

impl Fsx {
    /// Starts it on `file`, which is made anew, for so many operations. What it says goes to `log`, and
    /// what the file should have held, should it hold something else, into the directory of that.
    ///
    /// # Errors
    /// When it is not installed, or cannot be started.
    pub fn start(seed: u64, operations: u64, file: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(tool("fsx")?);
        command.arg("-f").arg(config());
        command.args(["-S", &seed.to_string()]);
        command.args(["-N", &operations.to_string()]);
        command
            .arg("-P")
            .arg(log.parent().context("a log in no directory")?);
        // Each step is told before it is done.
        command.arg("-v").arg(file);
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        Ok(Self {
            process: Process::spawn("fsx", &mut command, log)?,
            log: log.to_owned(),
            seen: 0,
            step: 0,
        })
    }

    /// The last step that it has begun, as far as was looked.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Waits until it is at `step`, or has ended. Whether it goes on.
    ///
    /// # Errors
    /// When it comes no further.
    pub fn reach(&mut self, step: u64) -> Result<bool> {
        wait::until_blocking("fsx to go on", PATIENCE, || {
            if self.process.ended()?.is_some() {
                return Ok(Ok(false));
            }
            self.look()?;
            let there = self.step >= step;
            Ok(there
                .then_some(true)
                .ok_or_else(|| format!("at {}", self.step)))
        })
    }

    /// Stops it between two calls. Whether it had not ended before.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn pause(&mut self) -> Result<bool> {
        if self.process.ended()?.is_some() {
            return Ok(false);
        }
        self.process.signal(Signal::STOP)?;
        let stat = format!("/proc/{}/stat", self.process.pid());
        wait::until_blocking("fsx to stop", PATIENCE, || {
            if self.process.ended()?.is_some() {
                return Ok(Ok(false));
            }
            let text = fs::read_to_string(&stat).with_context(|| format!("cannot read {stat}"))?;
            // The state stands behind the name, which may hold anything.
            let state = text
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            Ok((state == Some('T')).then_some(true).ok_or(text))
        })
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Whether it has a file below `dir` open. One that it has only mapped does not count.
    ///
    /// # Errors
    /// When its descriptors cannot be seen.
    pub fn is_open_below(&self, dir: &Path) -> Result<bool> {
        let listed = fs::read_dir(format!("/proc/{}/fd", self.process.pid()));
        for entry in listed.context("cannot list the descriptors of fsx")? {
            match fs::read_link(entry?.path()) {
                Ok(target) if target.starts_with(dir) => return Ok(true),
                Ok(_) => {}
                // It was closed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("cannot see a descriptor of fsx"),
            }
        }
        Ok(false)
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Errors
    /// When it found something else than it wrote, or did not come to its end; what it said is in
    /// the error.
    pub fn finish(mut self) -> Result<()> {
        let status = wait::until_blocking("fsx to end", PATIENCE, || {
            Ok(self.process.ended()?.ok_or_else(|| log_tail(&self.log, 1)))
        })?;
        let text = fs::read(&self.log).context("cannot read what fsx said")?;
        let text = String::from_utf8_lossy(&text);
        if status.success() && text.lines().any(|line| line == DONE) {
            return Ok(());
        }
        let mut lines = text.lines();
        let plain = |line: &&str| line.starts_with("[INFO ");
        let steps = lines.clone().take_while(plain).count();
        let said: Vec<&str> = lines.by_ref().skip(steps).take(ERROR_LINES).collect();
        bail!(
            "fsx ended with {status}: {}\n{}",
            said.join("\n"),
            self.process.log_tail(20)
        );
    }

    /// Reads what was added to the log.
    fn look(&mut self) -> Result<()> {
        let mut file = File::open(&self.log).context("cannot open what fsx said")?;
        file.seek(SeekFrom::Start(self.seen))
            .context("cannot go on reading what fsx said")?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)
            .context("cannot read what fsx said")?;
        let whole = new
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&new[..whole]);
        if let Some(step) = text.lines().rev().find_map(step_of) {
            ensure!(
                step >= self.step,
                "fsx went back from {} to {step}",
                self.step
            );
            self.step = step;
        }
        self.seen += u64::try_from(whole).context("a long log")?;
        Ok(())
    }
}

/// The number of the step that a line tells of.
fn step_of(line: &str) -> Option<u64> {
    let (level, said) = line.split_once("] ")?;
    let said = level.starts_with("[INFO").then_some(said)?;
    said.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_what_is_said() {
        let line = "[INFO  fsx]    17 write    0x10fa0 .. 0x2a10e (0x1916f bytes)";
        assert_eq!(step_of(line), Some(17));
        assert_eq!(step_of("[INFO  fsx] 20000 close/open"), Some(20_000));
        assert_eq!(step_of("[ERROR fsx]    17 CLOSE/OPEN"), None);
        assert_eq!(step_of("[ERROR fsx] Using seed 17"), None);
        assert_eq!(step_of(DONE), None);
    }
}
