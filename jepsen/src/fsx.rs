//! fsx, an exerciser of what a file holds: one file, and under a seed random reads, writes, maps,
//! truncations and copies of it. Each read is compared with what must be there.

use crate::binaries::tool;
use crate::process::Process;
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use nix::libc::SYS_write;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command};
use std::time::Duration;

/// How long the next step that is waited for may take, and the end.
const PATIENCE: Duration = Duration::from_secs(120);
/// What it says when everything was as it must be.
const DONE: &str = "All operations completed A-OK!";
/// Lines that it says about an error before it lists what it did last.
const ERROR_LINES: usize = 12;

/// A running exerciser. It says what it is about to do before each step, into a pipe: once that is full, it
/// waits between two steps until somebody listens. A signal would stop it within one, and the kernel
/// then cuts a `sendfile` short, which it cannot bear. Dropping it kills it.
#[derive(Debug)]
pub struct Fsx {
    process: Process,
    said: ChildStderr,
    /// Where what it said is kept.
    path: PathBuf,
    log: File,
    /// The beginning of a line.
    partial: Vec<u8>,
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
        command.arg("-v").arg(file);
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        let (process, said) = Process::spawn_heard("fsx", &mut command, log)?;
        let flags = fcntl_getfl(&said).context("cannot ask how the pipe is read")?;
        fcntl_setfl(&said, flags | OFlags::NONBLOCK).context("cannot read without waiting")?;
        Ok(Self {
            process,
            said,
            path: log.to_owned(),
            log: File::options()
                .append(true)
                .open(log)
                .context("cannot open its log")?,
            partial: Vec::new(),
            step: 0,
        })
    }

    /// The last step that it was heard to begin.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Listens until it begins `step`, or has ended. Whether it goes on.
    ///
    /// # Errors
    /// When it comes no further.
    pub fn reach(&mut self, step: u64) -> Result<bool> {
        wait::until_blocking("fsx to go on", PATIENCE, || {
            while self.step < step {
                match self.listen()? {
                    Some(0) => return Ok(Ok(false)),
                    Some(_) => {}
                    None => return Ok(Err(format!("at step {}", self.step))),
                }
            }
            Ok(Ok(true))
        })
    }

    /// Waits until it stands between two steps, or has ended: nobody listens. Whether it goes on when
    /// somebody does.
    ///
    /// # Errors
    /// When it stands somewhere else.
    pub fn pause(&mut self) -> Result<bool> {
        let proc = PathBuf::from(format!("/proc/{}", self.process.pid()));
        // The number of the call, and the descriptor of its errors.
        let writing = format!("{SYS_write} 0x2 ");
        wait::until_blocking("fsx to wait", PATIENCE, || {
            if self.process.ended()?.is_some() {
                return Ok(Ok(false));
            }
            let read = |file: &str| {
                let path = proc.join(file);
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
            };
            // In the call it may also stand because another process has its processor: only one that sleeps
            // there waits for somebody who listens.
            let call = read("syscall")?;
            let sleeps = read("stat")?.contains(") S ");
            let stays = sleeps && call.starts_with(&writing) && read("syscall")? == call;
            Ok(stays.then_some(true).ok_or(call))
        })
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

    /// Listens until its end, which must be a good one.
    ///
    /// # Errors
    /// When it found something else than it wrote, or did not come to its end; what it said is in
    /// the error.
    pub fn finish(mut self) -> Result<()> {
        ensure!(!self.reach(u64::MAX)?, "fsx counts without end");
        let status = wait::until_blocking("fsx to end", PATIENCE, || {
            Ok(self
                .process
                .ended()?
                .ok_or_else(|| "it says nothing more".to_owned()))
        })?;
        let text = fs::read(&self.path).context("cannot read what fsx said")?;
        let text = String::from_utf8_lossy(&text);
        if status.success() && text.lines().any(|line| line == DONE) {
            return Ok(());
        }
        let steps = |line: &&str| step_of(line).is_some();
        let said: Vec<&str> = text.lines().skip_while(steps).take(ERROR_LINES).collect();
        bail!(
            "fsx ended with {status} after step {}: {}",
            self.step,
            said.join("\n")
        );
    }

    /// Takes what it has said meanwhile, or a part of it: how many bytes, none at its end. `None` if it has
    /// said nothing.
    fn listen(&mut self) -> Result<Option<usize>> {
        let mut bytes = [0; 4096];
        let len = match self.said.read(&mut bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("cannot listen to fsx"),
        };
        self.partial.extend_from_slice(&bytes[..len]);
        if let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.partial.drain(..=end).collect();
            // It writes its last word there itself.
            self.log
                .write_all(&lines)
                .context("cannot keep what fsx said")?;
            let text = String::from_utf8_lossy(&lines);
            if let Some(step) = text.lines().rev().find_map(step_of) {
                ensure!(
                    step >= self.step,
                    "fsx went back from {} to {step}",
                    self.step
                );
                self.step = step;
            }
        }
        Ok(Some(len))
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
