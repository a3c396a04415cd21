//! A mount from its META-URL to its end.

use super::serving::Serving;
use super::umount::UmountMode;
use super::{MountError, MountOptions, mountpoint};
use crate::fuse::About;
use crate::vfs::Vfs;
use chunk_store::{Limits, SliceStore, VolumeKeys, open_volume};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions};
use meta_core::outcome::Refusal;
use meta_core::query::VolumeInfo;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// After a signal, how long open files may still be used on a mount that was busy.
const BUSY_GRACE: Duration = Duration::from_secs(5);
/// How long ending the session may take; the engine ends a silent one by itself.
const RUNTIME_END: Duration = Duration::from_secs(5);

/// A mounted volume, with the runtime that serves it.
#[derive(Debug)]
pub struct Mounted {
    runtime: Runtime,
    serving: Serving,
}

/// Mounts a volume; returns when the mount answers. Must not be called on a tokio runtime, as it
/// owns one.
///
/// # Errors
/// Says what is wrong with the mount point, the cluster, the volume, its storage or FUSE.
pub fn mount(
    url: &MetaUrl,
    mountpoint: &Path,
    options: MountOptions,
) -> Result<Mounted, MountError> {
    // First, because it needs nothing and is what people get wrong most.
    let path = mountpoint::check(mountpoint, options.nonempty)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("curlew")
        .enable_all()
        .build()
        .map_err(MountError::Runtime)?;
    let (vfs, about) = runtime.block_on(connect(url, &path, &options))?;
    let handle = runtime.handle().clone();
    let started = Serving::start(vfs.clone(), handle, &path, about, &options);
    let serving = match started {
        Ok(serving) => serving,
        Err(error) => {
            // Nothing was written: only the session is to be ended.
            let _nothing_to_flush = runtime.block_on(vfs.shutdown());
            return Err(error);
        }
    };
    tracing::warn!(
        "file locks (flock, fcntl) hold on this machine only: other mounts do not see them"
    );
    tracing::info!(volume = url.volume, path = %path.display(), "mounted");
    Ok(Mounted { runtime, serving })
}

async fn connect(
    url: &MetaUrl,
    path: &Path,
    options: &MountOptions,
) -> Result<(Vfs, About), MountError> {
    let session_options = SessionOptions {
        info: session_info(path).to_string().into_bytes(),
        retry_for: options.retry_for,
        open_for: options.connect_for,
        mirror: options.mirror.clone(),
        ..SessionOptions::default()
    };
    let session = match MetaSession::open(url, session_options).await {
        Ok(session) => session,
        Err(ClientError::Refused(Refusal::UnknownVolume)) => {
            return Err(MountError::UnknownVolume(url.volume.clone()));
        }
        Err(error) => return Err(MountError::Meta(error)),
    };
    let volume = session.volume().clone();
    let slices = match slice_store(&volume, options) {
        Ok(slices) => slices,
        Err(error) => {
            // The session was opened for nothing.
            crate::vfs::MetaApi::close(&session).await;
            return Err(error);
        }
    };
    let about = About {
        source: url.to_string(),
        volume: volume.name.clone(),
        config: config_json(url, &volume, options),
    };
    let vfs = Vfs::over_session(session, slices, options.vfs(volume.block_bytes));
    Ok((vfs, about))
}

fn slice_store(volume: &VolumeInfo, options: &MountOptions) -> Result<SliceStore, MountError> {
    let store = open_volume(&volume.storage, volume.uuid)
        .map_err(|error| MountError::Storage(error.to_string()))?;
    let keys = VolumeKeys {
        uuid: volume.uuid,
        epochs: volume.epochs.clone(),
    };
    let limits = Limits {
        uploads: options.uploads,
        downloads: options.downloads,
        memory_bytes: options.cache_bytes,
        ..Limits::default()
    };
    Ok(SliceStore::new(store, keys, volume.block_bytes, limits))
}

/// Who this mount is, for `status`.
fn session_info(path: &Path) -> serde_json::Value {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    serde_json::json!({
        "host": host.trim(),
        "pid": std::process::id(),
        "mountpoint": path.to_string_lossy(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn config_json(url: &MetaUrl, volume: &VolumeInfo, options: &MountOptions) -> serde_json::Value {
    // The description of the storage never holds a secret: the volume is made so.
    let storage: serde_json::Value = serde_json::from_slice(&volume.storage).unwrap_or_default();
    serde_json::json!({
        "meta_url": url.to_string(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "volume": volume.name,
        "uuid": volume.uuid.to_string(),
        "block_bytes": volume.block_bytes,
        "storage": storage,
        "options": options.to_json(),
    })
}

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.serving.path()
    }

    /// The file system.
    pub fn vfs(&self) -> &Vfs {
        self.serving.vfs()
    }

    /// Serves until the mount is unmounted, or the process gets SIGTERM, SIGINT or SIGHUP and
    /// unmounts it itself; then flushes everything.
    ///
    /// # Errors
    /// If written data could not be stored, or serving failed.
    pub fn wait(self) -> Result<(), MountError> {
        let Self { runtime, serving } = self;
        let result = runtime.block_on(serve_to_the_end(&serving));
        runtime.shutdown_timeout(RUNTIME_END);
        result
    }

    /// Asks the kernel to let go of the mount; [`Self::wait`] then flushes and returns.
    ///
    /// # Errors
    /// [`MountError::InUse`] if files are open there and `mode` is not lazy; the mount then stays.
    pub fn unmount(&self, mode: UmountMode) -> Result<(), MountError> {
        self.serving.unmount(mode)
    }
}

/// The signals that end a mount.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, MountError> {
        let listen = |kind| signal(kind).map_err(MountError::Runtime);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

async fn serve_to_the_end(serving: &Serving) -> Result<(), MountError> {
    let mut signals = Signals::new()?;
    let served = tokio::select! {
        served = serving.ended() => served,
        name = signals.next() => {
            tracing::info!(signal = name, path = %serving.path().display(), "unmounting");
            leave(serving).await
        }
    };
    let vfs = serving.vfs();
    let flushed = tokio::select! {
        flushed = vfs.shutdown() => flushed.map_err(MountError::Unflushed),
        _ = signals.next() => Err(MountError::Abandoned(vfs.pending_bytes())),
    };
    flushed.and(served)
}

/// Unmounts, lazily if files are open there.
async fn leave(serving: &Serving) -> Result<(), MountError> {
    match serving.unmount(UmountMode::Clean) {
        Ok(()) => return serving.ended().await,
        Err(MountError::InUse(_)) => {}
        Err(error) => return Err(error),
    }
    tracing::warn!(
        path = %serving.path().display(),
        "busy: detached from the tree; files still open there fail when this process ends"
    );
    serving.unmount(UmountMode::Lazy)?;
    match tokio::time::timeout(BUSY_GRACE, serving.ended()).await {
        Ok(ended) => ended,
        Err(_elapsed) => Ok(()),
    }
}
