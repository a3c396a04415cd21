use crate::mounted::{World, mounted, possible};
use crate::twin::{self, Waits};
use bytes::Bytes;
use chunk_store::{ObjectError, ObjectStore};
use fs_client::mount::MountOptions;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

fn started(program: &mut Command) -> Child {
    program.stdout(Stdio::null()).stderr(Stdio::null());
    program.spawn().expect("a program")
}

/// Its end by a signal, for which it must not need more than 20 s.
fn ended_by(child: &mut Child, signal: Signal) -> ExitStatus {
    kill_process(Pid::from_child(child), signal).expect("a signal");
    let mut status = None;
    until("the program ends", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    status.expect("an end")
}

#[test]
fn whoever_waits_for_the_engine_ends_by_a_signal() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let gate = mount.block_on(mount.session.gate.write());
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let before = mount.session.waiting();
        let mut cat = started(Command::new("cat").arg(&path));
        until("it waits", || mount.session.waiting() > before);
        let status = ended_by(&mut cat, signal);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
    drop(gate);
    assert_eq!(
        fs::read(&path).expect("a read"),
        b"data",
        "all is well again"
    );
}

#[test]
fn a_file_that_is_made_when_nobody_waits_any_more_is_not_left_open() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("new");
    let gate = mount.block_on(mount.session.changing.write());
    let mut touch = started(Command::new("touch").arg(&path));
    until("it waits", || mount.session.waiting() > 0);
    let status = ended_by(&mut touch, Signal::KILL);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    assert!(!path.exists(), "nothing was made yet");
    drop(gate);
    until("it is made all the same", || path.exists());
    let ino = fs::metadata(&path).expect("metadata").ino();
    let held = || mount.block_on(mount.vfs.held(&[meta_core::ids::Ino(ino)]));
    until("nobody has it open", || held().is_empty());
    assert_eq!(mount.vfs.open_handles(), 0);
}

#[test]
fn what_a_killed_program_has_written_is_stored_after_its_end() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    File::create_new(&path).expect("a file");
    let mut writer = Command::new("sh");
    writer.args([
        "-c",
        "exec 3>>\"$1\"; echo data >&3; kill -STOP $$; sleep 1000",
        "sh",
    ]);
    let mut writer = started(writer.arg(&path));
    until("it has written", || mount.vfs.pending_bytes() > 0);
    let gate = mount.block_on(mount.session.gate.write());
    let status = ended_by(&mut writer, Signal::KILL);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    drop(gate);
    until("it is stored", || mount.vfs.pending_bytes() == 0);
    assert_eq!(fs::read(&path).expect("a read"), b"data\n");
}

/// A store that does not answer while its gate is held.
#[derive(Debug)]
struct Hanging {
    inner: Arc<dyn ObjectStore>,
    gate: RwLock<()>,
    waiting: AtomicU64,
}

#[async_trait::async_trait]
impl ObjectStore for Hanging {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        self.inner.put(key, data).await
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        self.inner.put_file(key, file).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let _counted = Waits::at(&self.waiting);
        let _open = self.gate.read().await;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.inner.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        self.inner.list(prefix, after, count_max).await
    }
}

/// A program that has a handler for SIGINT, and ends by it with 7.
const WITH_HANDLER: &str = "$SIG{INT} = sub { exit 7 }; open(F, '<', $ARGV[0]); sysread(F, $b, 9)";

#[test]
fn a_read_from_a_store_that_does_not_answer_ends_by_a_signal() {
    if !possible() {
        return;
    }
    let store = Arc::new(Hanging {
        inner: twin::memory(),
        gate: RwLock::new(()),
        waiting: AtomicU64::new(0),
    });
    let world = World {
        engine: twin::Engine::new(),
        store: store.clone(),
    };
    let mount = world.mount(&MountOptions::default());
    let content = vec![7; 3 << 20];
    fs::write(mount.path("file"), &content).expect("a write");
    // Nothing of it is in memory.
    let mount = mount.remount();
    let path = mount.path("file");
    let gate = mount.block_on(store.gate.write());
    let reading = |program: &mut Command| {
        until("the last one has closed it", || {
            mount.vfs.open_handles() == 0
        });
        let child = started(program.arg(&path));
        until("it is open", || mount.vfs.open_handles() > 0);
        until("it is read", || store.waiting.load(SeqCst) > 0);
        child
    };
    for signal in [Signal::INT, Signal::KILL] {
        let status = ended_by(&mut reading(&mut Command::new("cat")), signal);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
    let mut perl = reading(Command::new("perl").args(["-e", WITH_HANDLER]));
    assert_eq!(ended_by(&mut perl, Signal::INT).code(), Some(7));
    drop(gate);
    assert!(
        fs::read(&path).expect("a read") == content,
        "all is well again"
    );
}
