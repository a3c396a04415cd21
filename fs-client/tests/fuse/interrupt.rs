use crate::mounted::{World, mounted, possible, until};
use crate::twin::{self, Waits};
use bytes::Bytes;
use chunk_store::{ObjectError, ObjectStore};
use fs_client::mount::MountOptions;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::sync::RwLock;

/// A program that is ended with its test.
struct Program(Child);

impl Program {
    /// Signals do to it what they do by default, whatever this process has made of them.
    fn start(words: &[&str], path: &Path) -> Self {
        let mut program = Command::new("env");
        program.arg("--default-signal").args(words).arg(path);
        program.stdout(Stdio::null()).stderr(Stdio::null());
        Self(program.spawn().expect("a program"))
    }

    /// Its end by a signal, for which it must not need more than 20 s.
    fn ended_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), signal).expect("a signal");
        let mut status = None;
        until("the program ends", || {
            status = self.0.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("an end")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ended = self.0.kill();
    }
}

#[test]
fn whoever_waits_for_the_engine_ends_by_a_signal() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let gate = mount.block_on(mount.session.gate.write());
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let before = mount.session.waiting();
        let mut cat = Program::start(&["cat"], &path);
        until("it waits", || mount.session.waiting() > before);
        let status = cat.ended_by(signal);
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
    let mut touch = Program::start(&["touch"], &path);
    until("it waits", || mount.session.waiting() > 0);
    let status = touch.ended_by(Signal::KILL);
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
    let gate = mount.block_on(mount.session.changing.write());
    let script = "exec 3>>\"$1\"; echo data >&3";
    let mut writer = Program::start(&["sh", "-c", script, "sh"], &path);
    // It closes the second number of the file, which waits.
    until("it waits", || mount.session.waiting() > 0);
    let status = writer.ended_by(Signal::KILL);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    assert!(mount.vfs.pending_bytes() > 0);
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
    let reading = |words: &[&str]| {
        until("the last one has closed it", || {
            mount.vfs.open_handles() == 0
        });
        let program = Program::start(words, &path);
        until("it is open", || mount.vfs.open_handles() > 0);
        until("it is read", || store.waiting.load(SeqCst) > 0);
        program
    };
    for signal in [Signal::INT, Signal::KILL] {
        let status = reading(&["cat"]).ended_by(signal);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
    let ended = reading(&["perl", "-e", WITH_HANDLER]).ended_by(Signal::INT);
    assert_eq!(ended.code(), Some(7));
    drop(gate);
    assert!(
        fs::read(&path).expect("a read") == content,
        "all is well again"
    );
}
