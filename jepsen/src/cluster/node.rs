//! One metadata node as a process.

use super::disk::DiskControl;
use super::options::Seat;
use crate::binaries::{Build, binary};
use crate::freezer::Frozen;
use crate::process::{Process, log_tail};
use anyhow::{Context, Result, bail, ensure};
use meta_client::meta_core::failpoint::Point;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// What a node says when it stops by itself, because it cannot trust its disk any more.
const STOPPED: i32 = 1;

/// A node: running, paused, or dead and able to come back.
#[derive(Debug)]
pub struct Node {
    pub(super) seat: Seat,
    pub(super) config: PathBuf,
    log: PathBuf,
    /// Goes before the process: one that is frozen does not end.
    frozen: Option<Frozen>,
    process: Option<Process>,
    paused: bool,
    build: Build,
}

impl Node {
    pub(super) fn new(seat: Seat, dir: &Path, build: Build) -> Self {
        let id = seat.id;
        Self {
            seat,
            config: dir.join(format!("node{id}.toml")),
            log: dir.join(format!("node{id}.log")),
            frozen: None,
            process: None,
            paused: false,
            build,
        }
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.seat.id
    }

    /// Where it speaks to clients and peers.
    pub fn addr(&self) -> &str {
        &self.seat.addr
    }

    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub fn metrics_addr(&self) -> &str {
        &self.seat.metrics
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Whether it runs, paused or not.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn running(&mut self) -> Result<bool> {
        Ok(match &mut self.process {
            Some(process) => process.ended()?.is_none(),
            None => false,
        })
    }

    /// Which build [`Self::start`] takes.
    pub fn build(&self) -> Build {
        self.build
    }

    /// Chooses the build that [`Self::start`] takes from now on. What runs goes on as it is.
    pub fn set_build(&mut self, build: Build) {
        self.build = build;
    }

    /// Whether it was stopped by [`Self::pause`] or [`Self::freeze`].
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Deletes all that it has, as when its disk is lost. It must not run.
    ///
    /// # Errors
    /// When it runs, or its files cannot be deleted.
    pub fn wipe(&mut self) -> Result<()> {
        if self.running()? {
            bail!("node {} runs", self.seat.id);
        }
        let data = &self.seat.data;
        std::fs::remove_dir_all(data).with_context(|| format!("cannot delete {}", data.display()))
    }

    /// Starts it from its [`Self::build`].
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        // The previous build has no program whose clock can be set: there it is right.
        let program = if self.seat.clock.is_some() && self.build == Build::This {
            "curlew-meta-failpoints"
        } else {
            "curlew-meta"
        };
        self.start_program(Command::new(self.build.program(program)?))
    }

    /// Sets its clock wrong by so many milliseconds.
    ///
    /// # Errors
    /// When its cluster was started without such clocks.
    pub fn set_clock(&self, off_ms: i64) -> Result<()> {
        let file = self.seat.clock.as_ref().context("its clock is right")?;
        // Read at any moment: it must be whole.
        let new = file.with_extension("clock.new");
        std::fs::write(&new, off_ms.to_string())?;
        std::fs::rename(&new, file).context("cannot set a clock")
    }

    /// What makes its disk slow or bad.
    ///
    /// # Errors
    /// When its cluster was started without such disks.
    pub fn disk(&self) -> Result<DiskControl> {
        DiskControl::open(self.seat.disk.as_ref().context("its disk is good")?)
    }

    /// Where its data are.
    pub fn data(&self) -> &Path {
        &self.seat.data
    }

    /// Runs `curlew-meta check` on its data, and gives what that said. It must not run.
    ///
    /// # Errors
    /// When its data are not in order.
    pub fn check(&self) -> Result<String> {
        let mut command = Command::new(binary("curlew-meta")?);
        command.arg("check").arg("--config").arg(&self.config);
        let output = command.output().context("cannot run curlew-meta")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{text}{errors}");
        Ok(text.trim().to_owned())
    }

    /// Starts it as a program that ends when it passes `point` for the `count`-th time.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start_failing(&mut self, point: Point, count: u64) -> Result<()> {
        let mut command = Command::new(binary("curlew-meta-failpoints")?);
        command.env("CURLEW_FAILPOINT", format!("{}:{count}", point.name()));
        self.start_program(command)
    }

    /// Starts it on a disk that is watched: each site that it passes is added to a file.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start_traced(&mut self, trace: &Path) -> Result<()> {
        self.start_watched("CURLEW_DISK_TRACE", trace.as_os_str())
    }

    /// Starts it on a disk whose `count`-th call of a site fails.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start_on_bad_disk(&mut self, site: &str, count: u64) -> Result<()> {
        self.start_watched("CURLEW_DISK_FAULT", format!("{count} {site}").as_ref())
    }

    fn start_watched(&mut self, variable: &str, value: &OsStr) -> Result<()> {
        let mut command = Command::new(binary("curlew-meta")?);
        command.env("LD_PRELOAD", binary("libdisk_faults.so")?);
        command.env("CURLEW_DISK_ROOT", &self.seat.data);
        command.env(variable, value);
        self.start_program(command)
    }

    /// Starts it as `command`, which is given a node's arguments.
    fn start_program(&mut self, mut command: Command) -> Result<()> {
        if self.running()? {
            bail!("node {} runs already", self.seat.id);
        }
        command.arg("serve").arg("--config").arg(&self.config);
        if let Some(file) = &self.seat.clock {
            command.env("CURLEW_CLOCK", file);
        }
        if let Some(file) = &self.seat.disk {
            DiskControl::make(file)?;
            command.env("LD_PRELOAD", binary("libdisk_faults.so")?);
            command.env("CURLEW_DISK_ROOT", &self.seat.data);
            command.env("CURLEW_DISK_CONTROL", file);
        }
        let name = format!("node {}", self.seat.id);
        let log = self.log.clone();
        let spawned = match &self.seat.space {
            Some(space) => {
                let mut command = space.bound(&command)?;
                space.within(move || Process::spawn(&name, &mut command, &log))?
            }
            None => Process::spawn(&name, &mut command, &log),
        };
        self.process = Some(spawned?);
        self.paused = false;
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When it had ended by itself, which is a failure of its own; when the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.must_run()?;
        self.thaw()?;
        self.alive()?.kill()
    }

    /// Ends it with SIGKILL when its disk is gone. It may have found that out and stopped by itself.
    ///
    /// # Errors
    /// When it ended in another way, such as by another signal; when the system refuses.
    pub(crate) fn kill_or_stopped(&mut self) -> Result<()> {
        self.thaw()?;
        let id = self.seat.id;
        let process = self.alive()?;
        process.kill()?;
        let status = process.ended()?.context("a killed process has not ended")?;
        ensure!(
            is_killed(status) || is_stopped(status),
            "node {id} ended with {status} when its disk was gone\n{}",
            process.log_tail(30)
        );
        Ok(())
    }

    /// Stops it in its tracks.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.alive()?.signal(Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self) -> Result<()> {
        self.alive()?.signal(Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    /// Freezes it, which neither it nor any other process is told of.
    ///
    /// # Errors
    /// When it does not run, or the kernel has no freezer for us.
    pub fn freeze(&mut self) -> Result<()> {
        let pid = self.alive()?.pid();
        self.frozen = Some(Frozen::freeze(pid)?);
        self.paused = true;
        Ok(())
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&mut self) -> Result<()> {
        self.paused = false;
        self.frozen.take().map_or(Ok(()), Frozen::thaw)
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end within `within`.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        let process = self.alive()?;
        process.signal(Signal::TERM)?;
        process.wait(within).await
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it does not within `within`.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        self.alive()?.wait(within).await
    }

    /// Waits for it to stop by itself, as it does when it cannot trust its disk any more.
    ///
    /// # Errors
    /// When it does not within `within`, or ends in another way: a panic, or a signal, is no stop.
    pub async fn stops(&mut self, within: Duration) -> Result<()> {
        let status = self.wait(within).await?;
        ensure!(
            is_stopped(status),
            "node {} ended with {status} where it should stop by itself\n{}",
            self.seat.id,
            self.log_tail(30)
        );
        Ok(())
    }

    /// Processor time that its process has used so far.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu_seconds(&mut self) -> Result<f64> {
        self.alive()?.cpu_seconds()
    }

    /// The id of its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&mut self) -> Result<u32> {
        Ok(self.alive()?.pid())
    }

    /// Whether it, or one of its processes before, has said `text`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn has_said(&self, text: &str) -> Result<bool> {
        let log = std::fs::read(&self.log).context("cannot read a node's log")?;
        Ok(String::from_utf8_lossy(&log).contains(text))
    }

    /// Whether it has said `text` after it first said `first`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn has_said_after(&self, first: &str, text: &str) -> Result<bool> {
        let log = std::fs::read(&self.log).context("cannot read a node's log")?;
        let log = String::from_utf8_lossy(&log);
        let rest = log.split_once(first).map(|(_, rest)| rest);
        Ok(rest.is_some_and(|rest| rest.contains(text)))
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log, lines)
    }

    /// An error when it has ended although nobody asked for that.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        let id = self.seat.id;
        let ended = match &mut self.process {
            Some(process) => process.ended()?,
            None => bail!("node {id} was not started"),
        };
        match ended {
            Some(status) => bail!("node {id} has ended ({status})\n{}", self.log_tail(30)),
            None => Ok(()),
        }
    }

    fn alive(&mut self) -> Result<&mut Process> {
        let id = self.seat.id;
        self.process
            .as_mut()
            .with_context(|| format!("node {id} was not started"))
    }
}

fn is_stopped(status: ExitStatus) -> bool {
    status.code() == Some(STOPPED)
}

fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_neither_a_stop_nor_a_kill() {
        // As wait(2) tells them: a code in the upper byte, a signal in the lower one.
        let [stopped, killed] = [1 << 8, 9].map(ExitStatus::from_raw);
        assert!(is_stopped(stopped) && !is_killed(stopped));
        assert!(is_killed(killed) && !is_stopped(killed));
        // Well ended, wrong usage, a panic, an abort, a wild pointer.
        for other in [0, 2 << 8, 101 << 8, 6, 11].map(ExitStatus::from_raw) {
            assert!(!is_stopped(other) && !is_killed(other), "{other}");
        }
    }
}
