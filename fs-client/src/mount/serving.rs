//! A file system while the kernel has it mounted.

use super::umount::{UmountMode, detach};
use super::{MountError, MountOptions, mountpoint};
use crate::fuse::{About, Adapter};
use crate::vfs::Vfs;
use fuser::{Config, MountOption, Session, SessionACL};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long a new mount may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Read-ahead of the kernel. Its default of 128 KiB makes each request small.
const READ_AHEAD_KIB: &str = "1024";

/// A served mount. Ending it unmounts; flushing is [`Vfs::shutdown`]'s.
#[derive(Debug)]
pub struct Serving {
    vfs: Vfs,
    path: PathBuf,
    ended: watch::Receiver<Option<Result<(), String>>>,
}

impl Serving {
    /// Mounts a file system and serves it on `runtime`; returns when the mount answers.
    ///
    /// # Errors
    /// If the mount point cannot be used, or the kernel refuses.
    pub fn start(
        vfs: Vfs,
        runtime: Handle,
        path: &Path,
        about: About,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let path = mountpoint::check(path, options.nonempty)?;
        let config = config(&about, options);
        let adapter = Adapter::new(vfs.clone(), runtime, about, options.adapter());
        let session = Session::new(adapter, &path, &config).map_err(|error| fuse(&path, error))?;
        let (sender, ended) = watch::channel(None);
        let run = move || {
            let result = session.run().map_err(|error| error.to_string());
            sender.send_replace(Some(result));
        };
        let thread = std::thread::Builder::new().name("fuse-session".to_owned());
        thread.spawn(run).map_err(MountError::Runtime)?;
        let serving = Self { vfs, path, ended };
        if answers(&serving.path) {
            tune(&serving.path);
            Ok(serving)
        } else {
            detach(&serving.path, UmountMode::Force)?;
            Err(MountError::NoAnswer(serving.path))
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system.
    pub fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    /// Waits until the kernel has let go of the mount.
    ///
    /// # Errors
    /// If serving ended by a failure.
    pub async fn ended(&self) -> Result<(), MountError> {
        let mut ended = self.ended.clone();
        let result = ended.wait_for(Option::is_some).await;
        match result.map(|value| value.clone()) {
            Ok(Some(Err(why))) => Err(MountError::Serving(why)),
            Ok(_) => Ok(()),
            Err(_closed) => Err(MountError::Serving("its thread ended".to_owned())),
        }
    }

    /// Asks the kernel to let go of the mount.
    ///
    /// # Errors
    /// [`MountError::InUse`] if files are open there and `mode` is not lazy.
    pub fn unmount(&self, mode: UmountMode) -> Result<(), MountError> {
        if self.ended.borrow().is_some() {
            return Ok(());
        }
        detach(&self.path, mode)
    }
}

fn config(about: &About, options: &MountOptions) -> Config {
    let mut list = vec![
        MountOption::FSName(format!("curlew:{}", about.volume)),
        // As a kernel option, so that it is set with and without fusermount.
        MountOption::CUSTOM("subtype=curlew".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
    ];
    let flag = |on: bool, yes: MountOption, no: MountOption| if on { yes } else { no };
    list.push(flag(options.read_only, MountOption::RO, MountOption::RW));
    list.push(flag(options.suid, MountOption::Suid, MountOption::NoSuid));
    list.push(flag(options.dev, MountOption::Dev, MountOption::NoDev));
    list.push(flag(options.exec, MountOption::Exec, MountOption::NoExec));
    let mut config = Config::default();
    config.mount_options = list;
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(options.threads.clamp(1, 16));
    // Handing the descriptor to a successor must stay possible.
    config.clone_fd = false;
    config
}

fn fuse(path: &Path, error: io::Error) -> MountError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; is the fuse module loaded and fusermount3 installed?",
        io::ErrorKind::PermissionDenied => "; mounting needs root or fusermount3",
        _ => "",
    };
    MountError::Fuse {
        path: path.to_owned(),
        error,
        hint,
    }
}

/// Asks the mount for its root from another thread: a mount that does not answer must not take
/// this one with it.
fn answers(path: &Path) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _late = sender.send(path.metadata().is_ok());
    });
    receiver.recv_timeout(ANSWER_WITHIN).unwrap_or(false)
}

/// Lets the kernel read ahead further. Only root may; without it reads are smaller.
fn tune(path: &Path) {
    let device = match mountpoint::curlew_mount_at(path) {
        Ok(Some(entry)) => entry.device,
        _ => return,
    };
    let file = format!("/sys/class/bdi/{device}/read_ahead_kb");
    if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB) {
        tracing::debug!(file, %error, "the kernel's read-ahead stays as it is");
    }
}
