//! A file system of its own for a node, in a file: its power can be cut.
//!
//! The cut is the file system's own shutdown without a flush of its log: what was not synced is
//! gone, and what was is there after the next mount.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Bytes of an image.
const BYTES: u64 = 512 << 20;

/// The file that takes room.
const BALLAST: &str = "ballast";

/// The kinds of file system that can be cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

/// A mounted image. Dropping it unmounts it.
#[derive(Debug)]
pub struct LoopImage {
    image: PathBuf,
    point: PathBuf,
    /// Of its mount, with commas.
    options: String,
    mounted: bool,
}

fn output(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .with_context(|| format!("cannot run {name}"))
}

fn run(command: &mut Command) -> Result<()> {
    let said = output(command)?;
    if said.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    bail!("{command:?}: {}: {words}", said.status);
}

/// Why no image can be mounted here, if none can.
pub fn loop_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    for tool in ["mkfs.ext4", "mkfs.xfs", "xfs_io", "mount", "umount"] {
        if output(Command::new(tool).arg("-V")).is_err() {
            return Some(format!("there is no {tool}"));
        }
    }
    let tried = tempfile::tempdir().map_err(anyhow::Error::from);
    let tried = tried.and_then(|dir| LoopImage::new(Kind::Ext4, dir.path(), &dir.path().join("m")));
    tried.err().map(|error| format!("{error:#}"))
}

impl LoopImage {
    /// Makes an image in `dir` and mounts it at `point`, which is made.
    ///
    /// # Errors
    /// When a command fails; what it said is in the error.
    pub fn new(kind: Kind, dir: &Path, point: &Path) -> Result<Self> {
        Self::with(kind, dir, point, &[], "loop")
    }

    /// As [`LoopImage::new`], ext4 with what `features` name, and mounted with more options.
    ///
    /// # Errors
    /// As [`LoopImage::new`].
    pub fn ext4(dir: &Path, point: &Path, features: &str, options: &str) -> Result<Self> {
        let options = format!("loop,{options}");
        Self::with(Kind::Ext4, dir, point, &["-O", features], &options)
    }

    fn with(
        kind: Kind,
        dir: &Path,
        point: &Path,
        arguments: &[&str],
        options: &str,
    ) -> Result<Self> {
        fs::create_dir_all(point).with_context(|| format!("cannot make {}", point.display()))?;
        let name = point.file_name().unwrap_or_default().to_string_lossy();
        let image = dir.join(format!("{name}.image"));
        File::create(&image)?.set_len(BYTES)?;
        let mut format = match kind {
            Kind::Ext4 => Command::new("mkfs.ext4"),
            Kind::Xfs => Command::new("mkfs.xfs"),
        };
        run(format.arg("-q").args(arguments).arg(&image))?;
        let mut made = Self {
            image,
            point: point.to_owned(),
            options: options.to_owned(),
            mounted: false,
        };
        made.mount()?;
        Ok(made)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.point
    }

    fn mount(&mut self) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.arg("-o").arg(&self.options);
        run(mount.arg(&self.image).arg(&self.point))?;
        self.mounted = true;
        Ok(())
    }

    /// Cuts the power: from now on nothing reaches the image. Processes that use the file system
    /// see errors.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn cut(&self) -> Result<()> {
        let mut cut = Command::new("xfs_io");
        // Foreign file systems have the same call; without -f the log is not written first.
        run(cut.args(["-F", "-x", "-c", "shutdown"]).arg(&self.point))
    }

    /// The power is back: the file system is mounted again, and recovers. Nobody may use it.
    ///
    /// # Errors
    /// When a command fails.
    pub fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Takes its room until about `left` bytes are free.
    ///
    /// # Errors
    /// When the file system does not say how much there is.
    pub fn fill(&self, left: u64) -> Result<()> {
        let path = self.point.join(BALLAST);
        let ballast = File::create(&path).context("cannot make a file that takes room")?;
        let about = rustix::fs::statvfs(&self.point)?;
        let mut take = (about.f_bavail * about.f_frsize).saturating_sub(left);
        let (mut taken, mut whole) = (0, true);
        // A file's own map takes room as well, and others write meanwhile: in ever smaller pieces.
        while take >= 4096 {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&ballast, flags, taken, take) {
                Ok(()) if whole => return Ok(()),
                Ok(()) => taken += take,
                Err(rustix::io::Errno::NOSPC) => (take, whole) = (take / 2, false),
                Err(error) => return Err(error).context("cannot take room"),
            }
        }
        Ok(())
    }

    /// Gives back what [`LoopImage::fill`] took.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.point.join(BALLAST)).context("cannot give room back")
    }

    fn unmount(&mut self) -> Result<()> {
        run(Command::new("umount").arg(&self.point))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for LoopImage {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            crate::scratch::notice(&format!("{error:#}"));
        }
    }
}
