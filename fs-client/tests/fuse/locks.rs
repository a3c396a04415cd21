//! Locks between mounts: `flock`, record locks of processes, and of open files.

use crate::mounted::{Mounted, World, possible, until};
use fs_client::mount::MountOptions;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Two mounts of one volume with an empty file.
fn two() -> Option<(Mounted, Mounted)> {
    if !possible() {
        return None;
    }
    let world = World::new();
    let options = MountOptions::default();
    let (one, other) = (world.mount(&options), world.mount(&options));
    File::create_new(one.path("file")).expect("a file");
    Some((one, other))
}

fn open(mount: &Mounted, name: &str) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(mount.path(name));
    file.expect("an open file")
}

#[expect(unsafe_code, reason = "the standard library has no record locks")]
mod record {
    use super::*;

    fn call(file: &File, command: i32, lock: &mut libc::flock) -> io::Result<()> {
        let pointer: *mut libc::flock = lock;
        // SAFETY: the descriptor is open, and the command reads and writes one `flock`.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), command, pointer) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn words(typ: i32, first: i64, len: i64) -> libc::flock {
        // SAFETY: zeroes are a `flock`.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = i16::try_from(typ).expect("small");
        lock.l_whence = i16::try_from(libc::SEEK_SET).expect("small");
        (lock.l_start, lock.l_len) = (first, len);
        lock
    }

    pub(super) fn set(file: &File, command: i32, typ: i32, first: i64, len: i64) -> io::Result<()> {
        call(file, command, &mut words(typ, first, len))
    }

    /// What is in the way of an exclusive lock: its type, first byte, length and process.
    pub(super) fn get(file: &File, first: i64, len: i64) -> (i32, i64, i64, i32) {
        let mut lock = words(libc::F_WRLCK, first, len);
        call(file, libc::F_GETLK, &mut lock).expect("an answer");
        (lock.l_type.into(), lock.l_start, lock.l_len, lock.l_pid)
    }

    /// A signal without effect but that it interrupts.
    pub(super) fn interrupts(signal: i32) {
        extern "C" fn nothing(_signal: i32) {}
        // SAFETY: the handler does nothing; without SA_RESTART system calls end with EINTR.
        let set = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    pub(super) fn this_thread() -> libc::pthread_t {
        // SAFETY: it has no conditions.
        unsafe { libc::pthread_self() }
    }

    pub(super) fn send(thread: libc::pthread_t, signal: i32) {
        // SAFETY: the thread is joined only after this.
        let sent = unsafe { libc::pthread_kill(thread, signal) };
        assert_eq!(sent, 0);
    }
}

fn errno(result: io::Result<()>) -> Option<i32> {
    result
        .err()
        .map(|error| error.raw_os_error().expect("an errno"))
}

/// Waits for an exclusive record lock in a thread, and is in the queue when this returns.
fn waits(
    mount: &Mounted,
    name: &str,
    first: i64,
) -> (JoinHandle<io::Result<()>>, libc::pthread_t, File) {
    let file = open(mount, name);
    let kept = file.try_clone().expect("a descriptor");
    let (sender, thread) = mpsc::channel();
    let before = waiters(mount);
    let waiting = thread::spawn(move || {
        sender.send(record::this_thread()).expect("heard");
        record::set(&file, libc::F_SETLKW, libc::F_WRLCK, first, 1)
    });
    let thread = thread.recv().expect("it runs");
    until("a request that waits", || waiters(mount) > before);
    (waiting, thread, kept)
}

/// Requests for locks that wait, as the engine has them.
fn waiters(mount: &Mounted) -> usize {
    mount.world.engine.lock_waiters()
}

#[test]
fn flocks_hold_between_mounts() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    a.lock().expect("a lock");
    assert!(matches!(b.try_lock(), Err(TryLockError::WouldBlock)));
    assert!(matches!(b.try_lock_shared(), Err(TryLockError::WouldBlock)));
    // Within a mount as well.
    let c = open(&one, "file");
    assert!(matches!(c.try_lock(), Err(TryLockError::WouldBlock)));
    a.unlock().expect("unlocked");
    b.lock_shared().expect("a lock");
    a.try_lock_shared().expect("a lock beside it");
    assert!(matches!(c.try_lock(), Err(TryLockError::WouldBlock)));
    drop(b);
    // A duplicate is the same open file.
    let again = a.try_clone().expect("a descriptor");
    drop(a);
    let d = open(&other, "file");
    assert!(matches!(d.try_lock(), Err(TryLockError::WouldBlock)));
    drop(again);
    d.lock().expect("closed for good");
}

#[test]
fn record_locks_hold_between_mounts_byte_by_byte() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    let set = |file: &File, typ, first, len| record::set(file, libc::F_SETLK, typ, first, len);
    set(&a, libc::F_WRLCK, 10, 10).expect("a lock");
    set(&a, libc::F_RDLCK, 15, 100).expect("weaker in the middle");
    assert_eq!(errno(set(&b, libc::F_RDLCK, 14, 1)), Some(libc::EAGAIN));
    assert_eq!(errno(set(&b, libc::F_WRLCK, 15, 1)), Some(libc::EAGAIN));
    set(&b, libc::F_RDLCK, 15, 1).expect("a lock beside it");
    set(&b, libc::F_WRLCK, 0, 10).expect("a lock before it");
    // Its process is of another session, and has no number here.
    assert_eq!(record::get(&b, 12, 0), (libc::F_WRLCK, 10, 5, 0));
    assert_eq!(record::get(&b, 200, 0).0, libc::F_UNLCK);
    // To the end of all offsets, and from there.
    set(&a, libc::F_UNLCK, 0, 0).expect("given back");
    set(&b, libc::F_WRLCK, 1 << 40, 0).expect("a lock");
    assert_eq!(record::get(&a, i64::MAX - 1, 1).0, libc::F_WRLCK);
    set(&b, libc::F_UNLCK, 0, 0).expect("given back");
}

#[test]
fn locks_of_a_process_of_an_open_file_and_of_flock_are_told_apart() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    a.lock().expect("a flock");
    let whole = |file: &File, command, typ| record::set(file, command, typ, 0, 0);
    // A record lock on the whole file is none.
    whole(&b, libc::F_SETLK, libc::F_WRLCK).expect("a record lock");
    let ofd = whole(&a, libc::F_OFD_SETLK, libc::F_RDLCK);
    assert_eq!(errno(ofd), Some(libc::EAGAIN), "against a process's");
    // The process is the owner, whatever it has open; an open file is another owner.
    let again = open(&other, "file");
    whole(&again, libc::F_SETLK, libc::F_RDLCK).expect("the same owner");
    let own = whole(&again, libc::F_OFD_SETLK, libc::F_WRLCK);
    assert_eq!(errno(own), Some(libc::EAGAIN), "another owner");
    whole(&a, libc::F_OFD_SETLK, libc::F_RDLCK).expect("readers together");
    // What gives back the one keeps the other.
    whole(&a, libc::F_OFD_SETLK, libc::F_UNLCK).expect("given back");
    assert!(matches!(b.try_lock(), Err(TryLockError::WouldBlock)));
    drop((a, b, again));
}

#[test]
fn a_process_that_closes_a_file_gives_its_record_locks_back() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    record::set(&a, libc::F_SETLK, libc::F_WRLCK, 0, 1).expect("a lock");
    record::set(&a, libc::F_OFD_SETLK, libc::F_WRLCK, 1, 1).expect("a lock");
    // Also one that it was not taken in, and that is open for reading.
    drop(File::open(one.path("file")).expect("opened"));
    record::set(&b, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 1).expect("it went");
    let ofd = record::set(&b, libc::F_OFD_SETLK, libc::F_WRLCK, 1, 1);
    assert_eq!(errno(ofd), Some(libc::EAGAIN), "the open file's stays");
    drop(a);
    // The kernel tells of the end of an open file a moment later.
    record::set(&b, libc::F_OFD_SETLKW, libc::F_WRLCK, 1, 1).expect("it went too");
}

#[test]
fn who_waits_for_a_lock_has_it_when_it_is_free() {
    let Some((one, other)) = two() else { return };
    let a = open(&one, "file");
    record::set(&a, libc::F_SETLK, libc::F_WRLCK, 0, 1).expect("a lock");
    let (waiting, _thread, kept) = waits(&other, "file", 0);
    record::set(&a, libc::F_SETLK, libc::F_UNLCK, 0, 0).expect("given back");
    waiting.join().expect("no panic").expect("the lock");
    drop(kept);
}

#[test]
fn a_signal_ends_the_wait_for_a_lock() {
    let Some((one, other)) = two() else { return };
    record::interrupts(libc::SIGUSR1);
    let a = open(&one, "file");
    record::set(&a, libc::F_SETLK, libc::F_WRLCK, 0, 1).expect("a lock");
    let (waiting, thread, kept) = waits(&other, "file", 0);
    let begin = Instant::now();
    record::send(thread, libc::SIGUSR1);
    let ended = waiting.join().expect("no panic");
    assert_eq!(errno(ended), Some(libc::EINTR));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(waiters(&one), 0, "it left the queue");
    drop((a, kept));
}

#[test]
fn processes_of_two_mounts_that_wait_for_each_other_are_told() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    record::set(&a, libc::F_SETLK, libc::F_WRLCK, 0, 1).expect("a lock");
    record::set(&b, libc::F_SETLK, libc::F_WRLCK, 1, 1).expect("a lock");
    let (waiting, _thread, kept) = waits(&one, "file", 1);
    let refused = record::set(&b, libc::F_SETLKW, libc::F_WRLCK, 0, 1);
    assert_eq!(errno(refused), Some(libc::EDEADLK));
    record::set(&b, libc::F_SETLK, libc::F_UNLCK, 0, 0).expect("given back");
    waiting.join().expect("no panic").expect("the lock");
    drop(kept);
}

#[test]
fn who_has_the_lock_sees_what_was_written_under_it() {
    const ROUNDS: u64 = 40;
    let Some((one, other)) = two() else { return };
    let count = |mount: &Mounted| {
        let mut file = open(mount, "file");
        move || {
            for _round in 0..ROUNDS {
                file.lock().expect("a lock");
                let mut bytes = [0; 8];
                file.seek(SeekFrom::Start(0)).expect("sought");
                let read = file.read(&mut bytes).expect("read");
                let seen = if read == 0 {
                    0
                } else {
                    u64::from_le_bytes(bytes)
                };
                file.seek(SeekFrom::Start(0)).expect("sought");
                // Neither synced nor closed.
                file.write_all(&(seen + 1).to_le_bytes()).expect("written");
                file.unlock().expect("unlocked");
            }
        }
    };
    let both = [thread::spawn(count(&one)), thread::spawn(count(&other))];
    for counter in both {
        counter.join().expect("no panic");
    }
    let bytes = std::fs::read(one.path("file")).expect("read");
    assert_eq!(bytes, (2 * ROUNDS).to_le_bytes());
}

#[test]
fn a_holder_whose_session_was_lost_writes_nothing_any_more() {
    let Some((one, other)) = two() else { return };
    let (a, b) = (open(&one, "file"), open(&other, "file"));
    let bystander = open(&one, "file");
    a.lock().expect("a lock");
    a.write_all_at(b"first", 0).expect("taken in");
    // Its machine stood still, and the cluster gave it up.
    one.session.renew();
    b.lock().expect("nobody has it");
    b.write_all_at(b"other", 0).expect("taken in");
    b.sync_all().expect("stored");

    let late = a
        .sync_all()
        .expect_err("it was written under a lock that is lost");
    assert_eq!(late.raw_os_error(), Some(libc::EIO));
    let more = a.write_all_at(b"again", 0).expect_err("the lock is lost");
    assert_eq!(more.raw_os_error(), Some(libc::EIO));
    let cut = a.set_len(1).expect_err("the lock is lost");
    assert_eq!(cut.raw_os_error(), Some(libc::EIO));
    let relock = a
        .try_lock_shared()
        .expect_err("it has to be given back first");
    assert!(matches!(relock, TryLockError::Error(_)), "{relock:?}");
    let read = std::fs::read(other.path("file")).expect("read");
    assert_eq!(read, b"other");

    // Whoever had no lock writes as before; the holder too, once it has given up what it lost.
    let told = bystander
        .sync_all()
        .expect_err("it shares the file's buffers");
    assert_eq!(told.raw_os_error(), Some(libc::EIO));
    bystander.write_all_at(b"!", 5).expect("taken in");
    bystander.sync_all().expect("stored");
    a.unlock().expect("given up");
    b.unlock().expect("given back");
    a.lock().expect("a new lock");
    a.write_all_at(b"newer", 0).expect("taken in");
    a.sync_all().expect("stored");
    a.unlock().expect("given back");
    assert_eq!(std::fs::read(other.path("file")).expect("read"), b"newer!");
}
