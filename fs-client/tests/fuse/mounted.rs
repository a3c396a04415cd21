//! One or more mounts for a test, unmounted at its end.

use crate::twin;
use chunk_store::ObjectStore;
use fs_client::fuse::About;
use fs_client::mount::{MountError, MountOptions, Serving, Signals, Told, UmountMode};
use fs_client::vfs::Vfs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// The engine and the blocks behind the mounts of a test.
pub(crate) struct World {
    pub(crate) engine: Arc<twin::Engine>,
    pub(crate) store: Arc<dyn ObjectStore>,
}

/// Waits for a state, for 20 s at most.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

pub(crate) struct Mounted {
    pub(crate) vfs: Vfs,
    pub(crate) session: Arc<twin::TwinSession>,
    pub(crate) serving: Serving,
    pub(crate) world: World,
    runtime: Option<Runtime>,
    directory: Option<tempfile::TempDir>,
}

/// Whether this machine can mount. Says so if not: a test that did nothing must not look like one
/// that passed.
pub(crate) fn possible() -> bool {
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    let root = rustix::process::geteuid().is_root();
    let why = match device {
        Ok(_) if root => return true,
        Ok(_) => "they need root".to_owned(),
        Err(error) => format!("they need /dev/fuse: {error}"),
    };
    // Not by the macro, whose output is shown only if the test fails.
    writeln!(std::io::stderr(), "SKIPPED FUSE test: {why}").expect("stderr");
    let all = std::env::var_os("CURLEW_TEST_ALL");
    assert!(all.is_none(), "every test must run here");
    false
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            engine: twin::Engine::new(),
            store: twin::memory(),
        }
    }

    pub(crate) fn same(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            store: Arc::clone(&self.store),
        }
    }

    pub(crate) fn mount(&self, options: &MountOptions) -> Mounted {
        let directory = tempfile::tempdir().expect("a directory");
        let mut mount = self.mount_at(directory.path(), options);
        mount.directory = Some(directory);
        mount
    }

    /// Why there is no mount with these options.
    pub(crate) fn mount_refused(&self, options: &MountOptions) -> MountError {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let vfs_options = options.vfs(twin::BLOCK_BYTES);
        let (vfs, _session) =
            runtime.block_on(async { twin::mount(&self.engine, &self.store, vfs_options) });
        let mut signals = signals(&[]);
        let start = Serving::start(vfs, directory.path(), about(), options, &mut signals);
        runtime.block_on(start).expect_err("no mount")
    }

    pub(crate) fn mount_at(&self, path: &Path, options: &MountOptions) -> Mounted {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let vfs_options = options.vfs(twin::BLOCK_BYTES);
        let (vfs, session) =
            runtime.block_on(async { twin::mount(&self.engine, &self.store, vfs_options) });
        let mut signals = signals(&[]);
        let start = Serving::start(vfs.clone(), path, about(), options, &mut signals);
        let serving = runtime.block_on(start).expect("a mount");
        Mounted {
            vfs,
            session,
            serving,
            world: self.same(),
            runtime: Some(runtime),
            directory: None,
        }
    }
}

/// What a mount's process was told, and nothing later.
pub(crate) fn signals(told: &[Told]) -> Signals {
    let (sender, receiver) = mpsc::channel(8);
    for told in told {
        sender.try_send(*told).expect("room");
    }
    Signals::from_channel(receiver)
}

pub(crate) fn about() -> About {
    About {
        source: "curlew://twin/twin".to_owned(),
        volume: "twin".to_owned(),
        config: serde_json::json!({ "volume": "twin" }),
    }
}

/// A mount, unless this machine cannot.
pub(crate) fn mounted() -> Option<Mounted> {
    possible().then(|| World::new().mount(&MountOptions::default()))
}

impl Mounted {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.serving.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.serving.path()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("a runtime").block_on(work)
    }

    /// Unmounts as soon as nothing is open. A child that another test has just forked holds this
    /// process's files until it executes its program.
    pub(crate) fn unmount(&self) -> Result<(), MountError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.serving.unmount(UmountMode::Clean) {
                Err(MountError::InUse(_)) if Instant::now() < deadline => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    /// Everything the kernel and the mount may still hold is given up, then mounts anew.
    pub(crate) fn remount(self) -> Self {
        let world = self.world.same();
        drop(self);
        world.mount(&MountOptions::default())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = self.unmount();
        if let Err(error) = &unmounted {
            eprintln!("not unmounted cleanly: {error}");
            let _second_try = self.serving.unmount(UmountMode::Lazy);
        }
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let flushed = runtime.block_on(async {
            self.serving.ended().await.expect("a served mount");
            self.vfs.shutdown().await
        });
        runtime.shutdown_background();
        drop(self.directory.take());
        if !std::thread::panicking() {
            unmounted.expect("a clean unmount");
            flushed.expect("everything stored");
            self.world.engine.check();
        }
    }
}
