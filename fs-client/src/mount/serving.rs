//! A file system while the kernel has it mounted.

use super::panics::Panics;
use super::umount::{UmountMode, abort, detach};
use super::{MountError, MountOptions, Signals, device, mountpoint, subdir};
use crate::fuse::{About, Adapter};
use crate::vfs::{AtimeMode, Vfs};
use fuser::{Config, MountOption, Session, SessionACL};
use meta_core::failpoint::{self, Point};
use meta_core::ids::Ino;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long a new mount may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Read-ahead of the kernel. Its default of 128 KiB makes each request small.
const READ_AHEAD_KIB: &str = "1024";

/// A served mount. Ending it unmounts; flushing is [`Vfs::shutdown`]'s.
#[derive(Debug)]
pub struct Serving {
    pub(super) vfs: Vfs,
    pub(super) place: Place,
    pub(super) ended: watch::Receiver<Option<Result<(), String>>>,
    /// How long a mount that is still used after its unmount is served.
    pub(super) busy_grace: Duration,
}

/// Where a mount is, and which one: a later mount at the same path is not ours to end.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// `None` if it was gone as soon as it was there.
    device: Option<String>,
}

impl Place {
    fn new(path: PathBuf) -> Result<Self, MountError> {
        match mountpoint::mount_at(&path) {
            Ok(entry) => {
                let device = entry.map(|entry| entry.device);
                Ok(Self { path, device })
            }
            Err(error) => Err(MountError::Mountpoint { path, error }),
        }
    }

    /// Asks the kernel to let go of this mount, and of no other: one that is not on top at its
    /// path is gone from the tree, or hidden where an unmount by path does not reach it.
    pub(super) fn detach(&self, mode: UmountMode) -> Result<(), MountError> {
        if self.is_on_top()? {
            detach(&self.path, mode)
        } else {
            Ok(())
        }
    }

    fn is_on_top(&self) -> Result<bool, MountError> {
        match mountpoint::mount_at(&self.path) {
            Ok(entry) => {
                Ok(entry.map(|entry| entry.device) == self.device && self.device.is_some())
            }
            Err(error) => Err(MountError::Umount {
                path: self.path.clone(),
                error,
            }),
        }
    }

    /// Fails what waits for this mount. Only for one that nobody else can have unmounted yet: the
    /// kernel gives the number to another connection as soon as ours is gone.
    fn abort(&self) -> Result<(), MountError> {
        match &self.device {
            Some(device) if self.is_on_top()? => abort(device),
            _ => {}
        }
        Ok(())
    }
}

impl Serving {
    /// Mounts a file system and serves it on the runtime that this is called on; returns when the
    /// mount answers.
    ///
    /// # Errors
    /// If the mount point or the directory to show cannot be used, the kernel refuses, or a signal comes
    /// first: the mount is then gone again.
    pub async fn start(
        vfs: Vfs,
        path: &Path,
        about: About,
        options: &MountOptions,
        signals: &mut Signals,
    ) -> Result<Self, MountError> {
        let found = async {
            let asked = subdir::find(&vfs, options.subdir.as_deref());
            let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
            answer.unwrap_or_else(|_late| Err(MountError::NoAnswer(path.to_owned())))
        };
        let root = tokio::select! {
            found = found => found?,
            told = signals.asked() => return Err(MountError::Interrupted(told)),
        };
        let serving = Self::begin(vfs, path, about, options, root)?;
        let answered = tokio::select! {
            answered = serving.answers() => answered,
            told = signals.asked() => Err(MountError::Interrupted(told)),
        };
        match answered {
            Ok(()) => {
                failpoint::pass(Point::MountServed);
                serving.tune();
                Ok(serving)
            }
            Err(error) => {
                // The thread that asked would otherwise keep the process from ending.
                serving.place.abort()?;
                serving.detach(UmountMode::Force).await?;
                Err(error)
            }
        }
    }

    fn begin(
        vfs: Vfs,
        path: &Path,
        mut about: About,
        options: &MountOptions,
        root: Ino,
    ) -> Result<Self, MountError> {
        let path = mountpoint::check(path, options.nonempty)?;
        let config = config(&about, options);
        if let Some(config) = about.config.as_object_mut() {
            config.insert("root_inode".to_owned(), root.0.into());
        }
        let adapter = options.adapter(root);
        let adapter = Adapter::new(vfs.clone(), Handle::current(), about, adapter);
        let shows = adapter.shows();
        let session = Session::new(adapter, &path, &config).map_err(|error| fuse(&path, error))?;
        vfs.forgets(shows.kernel(session.notifier()));
        let place = Place::new(path)?;
        let ended = serve(session, place.clone())?;
        Ok(Self {
            vfs,
            place,
            ended,
            busy_grace: options.busy_grace,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.place.path
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

    /// Is cancelled once the kernel has let go of the mount. Must be called on a tokio runtime.
    pub(super) fn end_token(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let (told, mut ended) = (token.clone(), self.ended.clone());
        tokio::spawn(async move {
            // A thread that is gone without a word has ended as well.
            let _ended = ended.wait_for(Option::is_some).await;
            told.cancel();
        });
        token
    }

    /// Asks the kernel to let go of the mount. Leaves another mount at its path alone.
    ///
    /// # Errors
    /// [`MountError::InUse`] if files are open there and `mode` is not lazy.
    pub fn unmount(&self, mode: UmountMode) -> Result<(), MountError> {
        if self.ended.borrow().is_some() {
            return Ok(());
        }
        self.place.detach(mode)
    }

    /// Asks the mount for its root from another thread: a mount that does not answer must not take
    /// this one, or the end of the runtime, with it.
    async fn answers(&self) -> Result<(), MountError> {
        let (sender, receiver) = oneshot::channel();
        let path = self.place.path.clone();
        let ask = move || {
            // Nobody listens any more if it took too long.
            let _late = sender.send(path.metadata().is_ok());
        };
        let thread = std::thread::Builder::new().name("mount-answers".to_owned());
        thread.spawn(ask).map_err(MountError::Runtime)?;
        match tokio::time::timeout(ANSWER_WITHIN, receiver).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(MountError::NoAnswer(self.place.path.clone())),
        }
    }

    /// Lets the kernel read ahead further. Only root may; without it reads are smaller.
    fn tune(&self) {
        let Some(device) = &self.place.device else {
            return;
        };
        let file = format!("/sys/class/bdi/{device}/read_ahead_kb");
        if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB) {
            tracing::debug!(file, %error, "the kernel's read-ahead stays as it is");
        }
    }
}

/// Serves a session in threads of its own.
///
/// At its end fuser would unmount by path, also after somebody else did, and so take away a new
/// mount at the same path. So fuser is made to forget its mount; we end it, by its device.
fn serve(
    session: Session<Adapter>,
    place: Place,
) -> Result<watch::Receiver<Option<Result<(), String>>>, MountError> {
    let (sender, ended) = watch::channel(None);
    let sender = Arc::new(sender);
    end_with_a_panic(&sender, &place);
    let (hand_over, handed) = std::sync::mpsc::channel();
    let wait = move || {
        let served: JoinHandle<io::Result<()>> = handed.recv().map_err(io::Error::other)?;
        let (is_gone, result) = match served.join() {
            Ok(Ok(())) => (true, Ok(())),
            Ok(Err(error)) if is_cut(&error) => (false, Ok(())),
            Ok(Err(error)) => (false, Err(error.to_string())),
            Err(_panic) => (false, Err("its thread panicked".to_owned())),
        };
        // Nobody serves it any more: without this, whoever comes later would wait for ever.
        if !is_gone && let Err(error) = place.detach(UmountMode::Lazy) {
            tracing::error!(%error, "a mount that nobody serves stays");
        }
        sender.send_replace(Some(result));
        Ok(())
    };
    let thread = std::thread::Builder::new().name("fuse-session".to_owned());
    let waiting = thread.spawn(wait).map_err(MountError::Runtime)?;
    let mut background = session.spawn().map_err(MountError::Runtime)?;
    let served = std::mem::replace(&mut background.guard, waiting);
    std::mem::forget(background);
    // The thread waits for it; if it is gone, so is the channel that tells the end.
    let _gone = hand_over.send(served);
    Ok(ended)
}

/// How serving ended, once it has.
type Ended = watch::Sender<Option<Result<(), String>>>;

/// Ends a mount one of whose threads has panicked: nobody answers the request that it had, and the program
/// that waits for it could not even be killed. The others would go on as if nothing were wrong.
fn end_with_a_panic(sender: &Arc<Ended>, place: &Place) {
    let (sender, place) = (Arc::downgrade(sender), place.clone());
    let mut panics = Panics::watch();
    tokio::spawn(async move {
        let Some(thread) = panics.next().await else {
            return;
        };
        // Serving that has ended meanwhile has said so itself.
        let Some(sender) = sender.upgrade() else {
            return;
        };
        let detached = tokio::task::spawn_blocking(move || place.detach(UmountMode::Lazy));
        if let Ok(Err(error)) = detached.await {
            tracing::error!(%error, "a mount that nobody serves stays");
        }
        let why = format!("its thread {thread} panicked over a request");
        sender.send_replace(Some(Err(why)));
    });
}

/// Whether a session ended because its connection did. Besides "no device" the kernel says so to
/// a thread that was just taking a request: the last close of a detached mount is one.
fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted
}

fn config(about: &About, options: &MountOptions) -> Config {
    let mut list = vec![
        MountOption::FSName(fs_name(about, options)),
        // As a kernel option, so that it is set with and without fusermount.
        MountOption::CUSTOM("subtype=curlew".to_owned()),
        // The kernel moves no times of a FUSE file system: this is what its table of mounts says. There is
        // no word of fuser's for strictatime.
        match options.atime_mode {
            AtimeMode::Noatime => MountOption::NoAtime,
            AtimeMode::Relatime | AtimeMode::Strictatime => MountOption::Atime,
        },
    ];
    if options.squash.kernel_checks() {
        list.push(MountOption::DefaultPermissions);
    }
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

/// What is mounted, as `df` names it. fusermount cannot be told a name with a comma.
fn fs_name(about: &About, options: &MountOptions) -> String {
    let named = options.fs_name.as_ref();
    match named.filter(|name| !name.contains(',') || device::mounts_itself()) {
        Some(name) => name.clone(),
        None => format!("curlew:{}", about.volume),
    }
}

fn fuse(path: &Path, error: io::Error) -> MountError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; is the fuse module loaded and fusermount3 installed?",
        // fusermount3 says itself what it does not allow.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => {
            "; mounting needs root or fusermount3"
        }
        _ => "",
    };
    MountError::Fuse {
        path: path.to_owned(),
        error,
        hint,
    }
}
