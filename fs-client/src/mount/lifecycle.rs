//! A mount from its META-URL to its end.

use super::dead::Owner;
use super::options::CONNECT_FOR;
use super::outcome::OutcomeNote;
use super::serving::ANSWER_WITHIN;
use super::serving::Serving;
use super::umount::UmountMode;
use super::{MountError, MountOptions, Signals, dead, device, mountpoint};
use crate::fuse::About;
use crate::vfs::Vfs;
use crate::worker::{COMPACT_INTERVAL, COMPACTION_LIMITS, ClusterDump, Worker, WorkerParts};
use chunk_store::{Limits, ObjectStore, SliceStore, VolumeKeys, open_volume};
use meta_client::{ClientError, DumpInfo, MetaSession, MetaUrl, SessionOptions};
use meta_core::outcome::Refusal;
use meta_core::query::VolumeInfo;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// By default a mount answers within this, or [`mount`] has given up.
pub const MOUNT_WITHIN: Duration = CONNECT_FOR.saturating_add(ANSWER_WITHIN);
/// How long ending the session may take; the engine ends a silent one by itself.
const RUNTIME_END: Duration = Duration::from_secs(5);

/// A mounted volume, with the runtime that serves it.
#[derive(Debug)]
pub struct Mounted {
    runtime: Runtime,
    serving: Serving,
    signals: Signals,
    outcome: OutcomeNote,
    worker: Option<Worker>,
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
    // First, because they need nothing and are what is wrong most.
    let path = mountpoint::check(mountpoint, options.nonempty)?;
    device::check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("curlew")
        .enable_all()
        .build()
        .map_err(MountError::Runtime)?;
    let started = runtime.block_on(start(url, &path, &options));
    let (serving, signals, outcome, worker) = match started {
        Ok(started) => started,
        Err(error) => {
            // Not by dropping it, which waits without end for what blocks.
            runtime.shutdown_timeout(RUNTIME_END);
            return Err(error);
        }
    };
    tracing::info!(volume = url.volume, path = %path.display(), "mounted");
    Ok(Mounted {
        runtime,
        serving,
        signals,
        outcome,
        worker,
    })
}

/// Connects and mounts. Listens for signals from the beginning: one that ended the process between
/// the kernel's mount and its answer would leave a dead mount behind.
async fn start(
    url: &MetaUrl,
    path: &Path,
    options: &MountOptions,
) -> Result<(Serving, Signals, OutcomeNote, Option<Worker>), MountError> {
    let mut signals = Signals::of_this_process()?;
    let outcome = OutcomeNote::new().map_err(MountError::Runtime)?;
    let (vfs, about, parts) = tokio::select! {
        connected = connect(url, path, options, &outcome) => connected?,
        // A session that was just being opened expires by its silence.
        told = signals.asked() => return Err(MountError::Interrupted(told)),
    };
    let started = Serving::start(vfs.clone(), path, about, options, &mut signals).await;
    match started {
        Ok(serving) => {
            let worker = parts.map(|parts| Worker::start(parts, &serving.end_token()));
            Ok((serving, signals, outcome, worker))
        }
        Err(error) => {
            // Nothing was written: only the session is to be ended, if that can be done soon.
            let _nothing_to_flush = tokio::time::timeout(RUNTIME_END, vfs.shutdown()).await;
            Err(error)
        }
    }
}

async fn connect(
    url: &MetaUrl,
    path: &Path,
    options: &MountOptions,
    outcome: &OutcomeNote,
) -> Result<(Vfs, About, Option<WorkerParts>), MountError> {
    let session_options = SessionOptions {
        info: session_info(path).to_string().into_bytes(),
        retry_for: options.retry_for,
        open_for: options.connect_for,
        leases: true,
        read_from: options.read_from,
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
    dead::end_sessions(url, volume.id).await;
    let store = open_volume(&volume.storage, volume.uuid).await;
    let store = match store {
        Ok(store) => store,
        Err(error) => {
            // The session was opened for nothing.
            crate::vfs::MetaApi::close(&session).await;
            return Err(MountError::Storage(error.to_string()));
        }
    };
    let about = About {
        source: url.to_string(),
        volume: volume.name.clone(),
        config: config_json(url, &volume, options, outcome),
    };
    let limits = Limits {
        uploads: options.uploads,
        downloads: options.downloads,
        memory_bytes: options.cache_bytes,
        ..Limits::default()
    };
    let slices = slice_store(Arc::clone(&store), &volume, limits);
    let vfs = Vfs::over_session(session.clone(), slices, options.vfs(volume.block_bytes));
    let parts = options.is_offered().then(|| WorkerParts {
        meta: Arc::new(session),
        slices: slice_store(Arc::clone(&store), &volume, COMPACTION_LIMITS),
        store,
        source: Arc::new(dump_source(url, &volume)),
        volume: volume.uuid,
        stats: Arc::clone(vfs.stats()),
        backup_interval: options.backup_meta,
        compact_interval: COMPACT_INTERVAL,
    });
    Ok((vfs, about, parts))
}

/// Dumps as `curlew dump` makes them.
fn dump_source(url: &MetaUrl, volume: &VolumeInfo) -> ClusterDump {
    let info = DumpInfo {
        volume: volume.name.clone(),
        storage: storage_json(volume),
    };
    ClusterDump::new(url.clone(), info)
}

/// The description of the storage, which never holds a secret: the volume is made so. It is JSON,
/// because the store was opened by it.
fn storage_json(volume: &VolumeInfo) -> serde_json::Value {
    serde_json::from_slice(&volume.storage).unwrap_or_default()
}

fn slice_store(store: Arc<dyn ObjectStore>, volume: &VolumeInfo, limits: Limits) -> SliceStore {
    let keys = VolumeKeys {
        uuid: volume.uuid,
        epochs: volume.epochs.clone(),
    };
    SliceStore::new(store, keys, volume.block_bytes, limits)
}

/// Who this mount is, for `status`.
fn session_info(path: &Path) -> serde_json::Value {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    serde_json::json!({
        "host": host.trim(),
        "pid": std::process::id(),
        "mountpoint": path.to_string_lossy(),
        "version": env!("CARGO_PKG_VERSION"),
        "owner": Owner::here(),
    })
}

fn config_json(
    url: &MetaUrl,
    volume: &VolumeInfo,
    options: &MountOptions,
    outcome: &OutcomeNote,
) -> serde_json::Value {
    serde_json::json!({
        "meta_url": url.to_string(),
        "pid": std::process::id(),
        "outcome": outcome.place(),
        "version": env!("CARGO_PKG_VERSION"),
        "volume": volume.name,
        "uuid": volume.uuid.to_string(),
        "block_bytes": volume.block_bytes,
        "storage": storage_json(volume),
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

    /// [`Serving::serve`] with the signals of this process; then tells `curlew umount` how it went.
    ///
    /// # Errors
    /// If written data could not be stored, or serving failed.
    pub fn wait(self) -> Result<(), MountError> {
        let Self {
            runtime,
            serving,
            signals,
            outcome,
            worker,
        } = self;
        let result = runtime.block_on(serving.serve(signals));
        drop(worker);
        if let Err(error) = outcome.write(&result) {
            // Whoever unmounts then hears that nothing is known, which is an error as well.
            tracing::error!(%error, "the outcome of the mount cannot be told");
        }
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
