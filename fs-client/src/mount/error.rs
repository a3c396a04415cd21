//! Why there is no mount, in words for the person who asked for one.

use super::Told;
use crate::vfs::VfsError;
use meta_client::ClientError;
use std::io;
use std::path::PathBuf;

/// Why mounting, or ending a mount, failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no such directory.
    #[error("the mount point {0} does not exist; make the directory first")]
    NoMountpoint(PathBuf),
    /// It is no directory.
    #[error("the mount point {0} is not a directory")]
    NotDirectory(PathBuf),
    /// Names would be hidden.
    #[error(
        "the mount point {0} is not empty; choose an empty directory, or allow it with `-o nonempty`"
    )]
    NotEmpty(PathBuf),
    /// A Curlew volume is there.
    #[error("{path} is already a mount of {source_name}; end it first with `curlew umount {path}`")]
    AlreadyMounted {
        /// Where.
        path: PathBuf,
        /// Of what.
        source_name: String,
    },
    /// Another file system is there.
    #[error("the mount point {path} is busy: {source_name} ({kind}) is mounted there")]
    Busy {
        /// Where.
        path: PathBuf,
        /// Of what.
        source_name: String,
        /// The file system's type.
        kind: String,
    },
    /// A mount whose process is gone.
    #[error("{0} is a mount whose process has ended; remove it with `curlew umount --force {0}`")]
    Dead(PathBuf),
    /// The mount point cannot be looked at.
    #[error("cannot use the mount point {path}: {error}")]
    Mountpoint {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The cluster has no such volume.
    #[error("the cluster has no volume `{0}`; make one with `curlew format`")]
    UnknownVolume(String),
    /// The directory to be shown cannot be.
    #[error("cannot mount the directory {path} of the volume: {why}")]
    Subdir {
        /// From the volume's root, as far as it was gone.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The cluster does not answer, or refuses.
    #[error("cannot open a session with the metadata cluster: {0}")]
    Meta(ClientError),
    /// The volume's block storage cannot be used.
    #[error("cannot open the volume's block storage: {0}")]
    Storage(String),
    /// The kernel's FUSE cannot be reached.
    #[error("cannot open /dev/fuse: {error}; {hint}")]
    NoDevice {
        /// Why.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody who may not mount needs root's hand, and it is not there.
    #[error(
        "there is no fusermount3, which mounts for whoever is not root; install fuse3, or mount as root"
    )]
    NoHelper,
    /// The kernel does not mount.
    #[error("FUSE cannot mount at {path}: {error}{hint}")]
    Fuse {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The mount is there and does not answer.
    #[error("the mount at {0} does not answer; it was removed again")]
    NoAnswer(PathBuf),
    /// The process was told to end while it was mounting.
    #[error("ended by {0} before the mount answered; nothing is mounted")]
    Interrupted(Told),
    /// Threads or timers cannot be made.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// The loop that serves the kernel ended with an error.
    #[error("serving the mount ended: {0}")]
    Serving(String),
    /// Data could not be stored before the end.
    #[error("written data could not be stored: {0}")]
    Unflushed(VfsError),
    /// The process was told a second time to end while data waited.
    #[error("ended by a second signal: {0} written bytes were not stored")]
    Abandoned(u64),
    /// There is no Curlew mount.
    #[error("{0} is not a mount of Curlew")]
    NotCurlew(PathBuf),
    /// Files are open there.
    #[error(
        "{0} is busy: a process has files open or works there (`fuser -vm {0}` shows it); end it, or detach with `curlew umount --lazy {0}`"
    )]
    InUse(PathBuf),
    /// The kernel does not unmount.
    #[error("cannot unmount {path}: {error}")]
    Umount {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}
