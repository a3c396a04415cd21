//! One real process, held by its handle: signals reach only what was started here.

use crate::wait;
use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::fs::{self, File};
use std::os::unix::process::{ExitStatusExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What is in the line that a thread leaves in a log when it panics.
const PANIC: &str = "panicked at";

/// A running process whose output goes to a log file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both outputs added to the file `log`.
    ///
    /// # Errors
    /// When the log or the program cannot be opened.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = open_log(log)?;
        let errors = output.try_clone().context("cannot share the log")?;
        command.stdout(output).stderr(errors);
        Self::start(name, command, log)
    }

    /// As [`Process::spawn`], but its errors go into a pipe: who reads them decides how far it comes.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_heard(
        name: &str,
        command: &mut Command,
        log: &Path,
    ) -> Result<(Self, ChildStderr)> {
        command.stdout(open_log(log)?).stderr(Stdio::piped());
        let mut process = Self::start(name, command, log)?;
        let errors = process.child.stderr.take().context("there is no pipe")?;
        Ok((process, errors))
    }

    fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: None,
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .context("cannot ask for an exit status")?;
        }
        Ok(self.ended)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended()? {
            return Err(anyhow!("{} has ended already ({status})", self.name));
        }
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Ends it with SIGKILL and waits for its end. Ended already is as good.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.child
                .kill()
                .with_context(|| format!("cannot kill {}", self.name))?;
            self.ended = Some(
                self.child
                    .wait()
                    .context("cannot wait for a killed process")?,
            );
        }
        Ok(())
    }

    /// Ends it with SIGKILL, which must be what ends it.
    ///
    /// # Errors
    /// When it had ended by itself; the log's tail is in the error.
    pub fn kill_running(&mut self) -> Result<()> {
        let before = self.ended()?;
        self.kill()?;
        // It may have crashed between the look and the signal.
        let status = self.ended()?.context("a killed process has not ended")?;
        ensure!(
            before.is_none() && status.signal() == Some(Signal::KILL.as_raw()),
            "{} had ended by itself ({status})\n{}",
            self.name,
            self.log_tail(20)
        );
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When `within` is over; the log's tail is in the error.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        let tail = self.log.clone();
        wait::until(&what, within, async || {
            Ok(self.ended()?.ok_or_else(|| log_tail(&tail, 20)))
        })
        .await
    }

    /// Processor time that it has used so far, all its threads together.
    ///
    /// # Errors
    /// When it has ended, or the system does not say.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid())
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            crate::scratch::notice(&format!("{error:#}"));
        }
    }
}

fn open_log(log: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(log);
    file.with_context(|| format!("cannot open the log {}", log.display()))
}

/// Processor time that a process has used so far, all its threads together.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(meta_client::bench::cpu_seconds(pid)?)
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resident {
    /// Now.
    pub now: u64,
    /// At most so far, or since [`forget_peak`].
    pub peak: u64,
}

/// What a process has in memory.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: u32) -> Result<Resident> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .with_context(|| format!("no {name} in {path}"))
    };
    Ok(Resident {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// Lets a process's peak be what it has now.
///
/// # Errors
/// When the system refuses.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

/// Lets this process be told to end, by SIGTERM, when its parent ends, if that is this program too:
/// then it is a long proof, and nobody else waits for what it started.
///
/// # Errors
/// When the system refuses, or the parent has ended meanwhile.
pub fn end_with_proof() -> Result<()> {
    let parent = parent_id();
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let own = program("self");
    if own.is_none() || program(&parent.to_string()) != own {
        return Ok(());
    }
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot end with the proof")?;
    // Of an end before that call nothing is told.
    ensure!(parent_id() == parent, "the proof has ended");
    Ok(())
}

/// What was said in a log when threads panicked, one text each: the line that says where, and the
/// one behind it, which says why.
///
/// # Errors
/// When the log cannot be read.
pub fn panics(log: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(place) = lines.find(|line| line.contains(PANIC)) {
        // Looked at only: another thread's panic may be in it.
        let why = lines.clone().next().unwrap_or_default();
        found.push(format!("{}: {place} {why}", log.display()));
    }
    Ok(found)
}

/// The last lines of a log file, for a message.
pub fn log_tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match text {
        Ok(text) => {
            let all: Vec<&str> = text.lines().collect();
            let tail = &all[all.len().saturating_sub(lines)..];
            format!("-- {} --\n{}\n", path.display(), tail.join("\n"))
        }
        Err(error) => format!("-- {}: {error} --\n", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn only_a_running_process_is_killed_for_sure() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let start = |script: &str| {
            let mut command = Command::new("sh");
            Process::spawn("a shell", command.args(["-c", script]), &log).expect("started")
        };
        let mut running = start("exec sleep 1000");
        running.kill_running().expect("it ran");
        let again = running.kill_running().expect_err("it has ended");
        assert!(format!("{again:#}").contains("by itself"), "{again:#}");
        let mut gone = start("echo the reason; exit 3");
        gone.wait(PATIENCE).await.expect("ended");
        let wrong = format!("{:#}", gone.kill_running().expect_err("it has ended"));
        assert!(wrong.contains("the reason"), "{wrong}");
    }

    #[test]
    fn panics_are_found_with_their_reasons() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("node1.log");
        fs::write(&log, "started\nfailpoint log.synced\n").expect("written");
        assert_eq!(panics(&log).expect("read"), Vec::<String>::new());
        let text = "started\nthread 'a' (7) panicked at src/a.rs:1:2:\nno row\nstack\n\
                    thread 'b' panicked at src/b.rs:3:4:\nthread 'c' panicked at src/c.rs:5:6:\n";
        fs::write(&log, text).expect("written");
        let found = panics(&log).expect("read");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("src/a.rs:1:2: no row"), "{found:?}");
        assert!(found[2].ends_with("src/c.rs:5:6: "), "{found:?}");
        assert!(panics(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_process_of_another_parent_does_not_end_with_it() {
        // Whoever runs the tests is another program.
        end_with_proof().expect("nothing to be done");
        let told = rustix::process::parent_process_death_signal().expect("told");
        assert!(told.is_none(), "{told:?}");
    }
}
