//! Ending a mount from outside or inside its process.

use super::{MountError, mountpoint};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::Path;
use std::process::Command;

/// How to unmount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UmountMode {
    /// Only if nothing is open there.
    Clean,
    /// Out of the tree of names now; what is open lives on until it is closed.
    Lazy,
    /// Also if the mount does not answer: what is open fails.
    Force,
}

/// Ends a mount of Curlew. When this returns the kernel has let go of it; its process then flushes
/// what still waits (little: every close has flushed) and ends.
///
/// # Errors
/// If there is no such mount, or it is in use.
pub fn umount(path: &Path, mode: UmountMode) -> Result<(), MountError> {
    let found = mountpoint::curlew_mount_at(path).map_err(|error| MountError::Umount {
        path: path.to_owned(),
        error,
    })?;
    match found {
        Some(entry) => detach(&entry.path, mode),
        None => Err(MountError::NotCurlew(path.to_owned())),
    }
}

/// Asks the kernel to unmount.
pub(super) fn detach(path: &Path, mode: UmountMode) -> Result<(), MountError> {
    let flags = match mode {
        UmountMode::Clean => UnmountFlags::NOFOLLOW,
        UmountMode::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
        UmountMode::Force => UnmountFlags::NOFOLLOW | UnmountFlags::FORCE | UnmountFlags::DETACH,
    };
    let result = match unmount(path, flags) {
        Err(Errno::PERM) => fusermount(path, mode),
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

/// Fails every request in flight and all later ones, which a mount's owner may do as well as root.
/// A process that waits for its own mount could otherwise not even be killed.
pub(super) fn abort(device: &str) {
    let Some(number) = connection(device) else {
        return;
    };
    let file = format!("/sys/fs/fuse/connections/{number}/abort");
    if let Err(error) = std::fs::write(&file, "1") {
        // Not every machine shows the connections; a forced unmount by root cuts it as well.
        tracing::debug!(file, %error, "the connection is not cut");
    }
}

/// The kernel names connections by the device's number, of which the major part is 0.
fn connection(device: &str) -> Option<&str> {
    device.strip_prefix("0:")
}

fn is_mounted(path: &Path) -> bool {
    // If the table cannot be read, the kernel's answer stands.
    mountpoint::curlew_mount_at(path).map_or(true, |entry| entry.is_some())
}

/// Only root may unmount; fusermount3 is root's hand for everybody's own mounts.
fn fusermount(path: &Path, mode: UmountMode) -> io::Result<()> {
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    if mode != UmountMode::Clean {
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
