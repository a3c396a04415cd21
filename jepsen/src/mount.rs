//! A real mount: `curlew mount` in the foreground, as a process of ours.

use crate::binaries::{Build, binary};
use crate::process::Process;
use crate::scratch::notice;
use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// How long a mount may take to answer, and an unmount to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted volume. Dropping it kills its process and unmounts by force.
#[derive(Debug)]
pub struct Mount {
    process: Process,
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts `url` at `point`, which is made if needed, and waits until it answers.
    ///
    /// # Errors
    /// When it does not; the log's tail is in the error.
    pub fn start(url: &str, point: &Path, log: &Path, extra: &[&str]) -> Result<Self> {
        Self::start_with(url, point, log, extra, &[])
    }

    /// As [`Mount::start`], with more variables in the environment.
    ///
    /// # Errors
    /// As [`Mount::start`].
    pub fn start_with(
        url: &str,
        point: &Path,
        log: &Path,
        extra: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(binary("curlew")?);
        command.arg("mount").arg(url).arg(point).args(extra);
        command.envs(environment.iter().copied());
        Self::launch(&mut command, point, log)?.answering()
    }

    /// As [`Mount::start`], by the program of a build.
    ///
    /// # Errors
    /// As [`Mount::start`], and when there is no such build.
    pub fn start_from(build: Build, url: &str, point: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(build.program("curlew")?);
        command.arg("mount").arg(url).arg(point);
        Self::launch(&mut command, point, log)?.answering()
    }

    fn answering(mut self) -> Result<Self> {
        wait::until_blocking("the mount to answer", PATIENCE, || {
            if let Some(status) = self.process.ended()? {
                bail!(
                    "curlew mount has ended ({status})\n{}",
                    self.process.log_tail(20)
                );
            }
            Ok(self.answers()?.ok_or_else(|| self.process.log_tail(20)))
        })?;
        Ok(self)
    }

    /// Mounts with a program that ends at `NAME[:COUNT]`, and waits until it answers or has ended.
    ///
    /// # Errors
    /// When it does neither.
    pub fn start_failing(
        url: &str,
        point: &Path,
        log: &Path,
        extra: &[&str],
        at: &str,
    ) -> Result<Self> {
        let mut command = Command::new(binary("curlew-failpoints")?);
        command.arg("mount").arg(url).arg(point).args(extra);
        command.env("CURLEW_FAILPOINT", at);
        let mut mount = Self::launch(&mut command, point, log)?;
        wait::until_blocking("the mount to answer or to end", PATIENCE, || {
            if mount.process.ended()?.is_some() {
                return Ok(Ok(()));
            }
            Ok(mount.answers()?.ok_or_else(|| mount.process.log_tail(20)))
        })?;
        Ok(mount)
    }

    fn launch(command: &mut Command, point: &Path, log: &Path) -> Result<Self> {
        fs::create_dir_all(point)
            .with_context(|| format!("cannot make the mount point {}", point.display()))?;
        if is_mounted(point)? {
            bail!("{} is mounted already", point.display());
        }
        Ok(Self {
            process: Process::spawn("curlew mount", command, log)?,
            point: point.to_owned(),
            mounted: true,
        })
    }

    fn answers(&self) -> Result<Option<()>> {
        let answers = is_mounted(&self.point)? && fs::read_dir(&self.point).is_ok();
        Ok(answers.then_some(()))
    }

    /// The mounted directory.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends its process with SIGKILL, and takes away what is left of the mount.
    ///
    /// # Errors
    /// When it had ended by itself; the log's tail is in the error.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill_running()
    }

    /// Unmounts with `curlew umount` and waits for the process to end well.
    ///
    /// # Errors
    /// When either does not.
    pub fn unmount(mut self) -> Result<()> {
        let output = umount(&self.point)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("curlew umount failed ({}): {said}", output.status);
        }
        self.gone()
    }

    /// Ends it by SIGTERM, which unmounts and stores everything also while files are in use there, and
    /// waits for the process to end well.
    ///
    /// # Errors
    /// When it does not.
    pub fn end_in_use(mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.gone()
    }

    fn gone(&mut self) -> Result<()> {
        let status = wait::until_blocking("the mount's process to end", PATIENCE, || {
            Ok(self
                .process
                .ended()?
                .ok_or_else(|| self.process.log_tail(20)))
        })?;
        self.mounted = is_mounted(&self.point)?;
        if self.mounted {
            bail!("{} is still mounted after its end", self.point.display());
        }
        if !status.success() {
            bail!(
                "curlew mount ended with {status}\n{}",
                self.process.log_tail(20)
            );
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // First: whether something is mounted is asked of the mount, which may wait for its cluster.
        if let Err(error) = self.process.kill() {
            notice(&format!("{error:#}"));
        }
        if self.mounted
            && is_mounted(&self.point).unwrap_or(true)
            && let Err(error) = unmount(&self.point, UnmountFlags::DETACH)
        {
            notice(&format!("cannot unmount {}: {error}", self.point.display()));
        }
    }
}

/// Runs `curlew umount`.
///
/// # Errors
/// When it cannot be run.
pub fn umount(point: &Path) -> Result<Output> {
    let mut command = Command::new(binary("curlew")?);
    command
        .arg("umount")
        .arg(point)
        .output()
        .context("cannot run curlew umount")
}

/// Whether something is mounted at `point`. A dead mount, which answers nothing but errors, is one.
///
/// # Errors
/// When the parent directory cannot be looked at.
pub fn is_mounted(point: &Path) -> Result<bool> {
    let parent = point
        .parent()
        .context("a mount point has a parent directory")?;
    let outside = fs::metadata(parent).context("cannot look at the mount point's parent")?;
    Ok(match fs::metadata(point) {
        Ok(inside) => inside.dev() != outside.dev(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    })
}
