//! Ending a mount from outside or inside its process.

use super::{MountError, mountpoint};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the mount's process may flush after the kernel let go.
const FLUSH_WITHIN: Duration = Duration::from_secs(120);
/// How long the mount may take to say which process it is.
const STATUS_WITHIN: Duration = Duration::from_secs(5);

/// How to unmount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Umount {
    /// Only if nothing is open there.
    Clean,
    /// Out of the tree of names now; what is open lives on until it is closed.
    Lazy,
    /// Also if the mount does not answer: what is open fails.
    Force,
}

/// Ends a mount of Curlew, and waits for its process to flush and end, unless `how` is
/// [`Umount::Force`].
///
/// # Errors
/// If there is no such mount, or it is in use.
pub fn umount(path: &Path, how: Umount) -> Result<(), MountError> {
    let failed = |error| MountError::Umount {
        path: path.to_owned(),
        error,
    };
    let found = mountpoint::curlew_mount_at(path).map_err(failed)?;
    let Some(entry) = found else {
        return Err(MountError::NotCurlew(path.to_owned()));
    };
    let process = match how {
        // A hung or dead mount would not say.
        Umount::Force => None,
        Umount::Clean | Umount::Lazy => process_of(&entry.path),
    };
    detach(&entry.path, how)?;
    match process {
        Some((pid, fd)) => wait_for(&entry.path, pid, &fd),
        None => Ok(()),
    }
}

/// Asks the kernel to unmount.
pub(super) fn detach(path: &Path, how: Umount) -> Result<(), MountError> {
    let flags = match how {
        Umount::Clean => UnmountFlags::NOFOLLOW,
        Umount::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
        Umount::Force => UnmountFlags::NOFOLLOW | UnmountFlags::FORCE | UnmountFlags::DETACH,
    };
    let result = match unmount(path, flags) {
        Err(Errno::PERM) => fusermount(path, how),
        // Somebody else was faster.
        Err(Errno::INVAL) if !is_mounted(path) => Ok(()),
        Err(errno) => Err(io::Error::from(errno)),
        Ok(()) => Ok(()),
    };
    result.map_err(|error| {
        if error.kind() == io::ErrorKind::ResourceBusy {
            MountError::InUse(path.to_owned())
        } else {
            MountError::Umount {
                path: path.to_owned(),
                error,
            }
        }
    })
}

fn is_mounted(path: &Path) -> bool {
    // If the table cannot be read, the kernel's answer stands.
    mountpoint::curlew_mount_at(path).map_or(true, |entry| entry.is_some())
}

/// Only root may unmount; fusermount3 is root's hand for everybody's own mounts.
fn fusermount(path: &Path, how: Umount) -> io::Result<()> {
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    if how != Umount::Clean {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("busy") {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, said));
    }
    Err(io::Error::other(said))
}

/// The mount's process, as `.status` says, and a descriptor that tells its end. None if it does
/// not say, or if it is this one, which cannot be waited for.
fn process_of(path: &Path) -> Option<(u32, OwnedFd)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let file = path.join(".status");
    std::thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _late = sender.send(std::fs::read(file));
    });
    let text = receiver.recv_timeout(STATUS_WITHIN).ok()?.ok()?;
    let status: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let pid = u32::try_from(status.get("pid")?.as_u64()?).ok()?;
    if pid == std::process::id() {
        return None;
    }
    let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let fd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
    Some((pid, fd))
}

/// A process descriptor becomes readable when its process has ended.
fn wait_for(path: &Path, pid: u32, process: &OwnedFd) -> Result<(), MountError> {
    let failed = |errno: nix::errno::Errno| MountError::Umount {
        path: path.to_owned(),
        error: errno.into(),
    };
    let deadline = Instant::now() + FLUSH_WITHIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left) {
            Ok(0) => {
                return Err(MountError::StillFlushing {
                    path: path.to_owned(),
                    pid,
                    seconds: FLUSH_WITHIN.as_secs(),
                });
            }
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}
