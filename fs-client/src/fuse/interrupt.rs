//! Requests whose callers are told to end while they wait.
//!
//! A caller that waits for an answer cannot end before it has one, not even by SIGKILL, unless the file
//! system is told of the signal; fuser does not tell. So whoever waits for long is looked at: the kernel
//! keeps the signal among the pending ones until the answer. The request goes on, and what comes of it is
//! let go.

use super::signals::{self, shows_all};
use super::statfs::Shown;
use crate::vfs::{DirHandleId, DirListing, Op, Opened, Vfs};
use bytes::Bytes;
use meta_core::attr::Attr;
use meta_core::lock::HeldLock;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often a caller that waits is looked at, from the beginning on.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks after which a signal with a handler counts too: programs do not expect that one cuts a call
/// short on a file system that is only slow.
const LOOKS_FOR_HANDLER: u32 = 20;
/// Looks at a caller that has been killed and closes its files at its end, before it is let go without
/// them being stored. What it wrote is stored all the same, but who waited for it may look too early.
const LOOKS_AT_END: u32 = 20;
/// Requests that go on without a caller, at most. With more, callers wait.
const LEFT_MAX: usize = 4096;

/// Signals by which programs are told to end that have a handler for them: SIGHUP, SIGINT, SIGQUIT
/// and SIGTERM.
const ENDING: u64 = mask(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
/// Signals that end nobody who has no handler for them. A read of a file is not cut short to stop.
const HARMLESS: u64 = mask(&[
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
    libc::SIGWINCH,
]);
/// The kernel's marks of a process that is ending, and of one that a signal ends.
const IS_EXITING: u64 = 0x4;
const IS_SIGNALED: u64 = 0x400;

const fn mask(signals: &[i32]) -> u64 {
    let (mut mask, mut index) = (0, 0);
    while index < signals.len() {
        mask |= 1 << (signals[index] - 1);
        index += 1;
    }
    mask
}

/// Requests that go on without a caller.
#[derive(Clone, Debug)]
pub(super) struct Interrupts {
    room: Arc<Semaphore>,
}

impl Default for Interrupts {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(LEFT_MAX)),
        }
    }
}

impl Interrupts {
    /// Waits until the caller, a thread by its number, is told to end: by a signal that kills it, or, if
    /// the request changes nothing, by one that it has a handler for. One that is gone reads nothing any
    /// more; its file is not closed before the last of its reads is answered. What is given counts the
    /// request that goes on. Never comes for a caller in another pid namespace, which has the number 0.
    pub(super) async fn told(&self, caller: u32, op: Op) -> OwnedSemaphorePermit {
        if caller == 0 {
            return std::future::pending().await;
        }
        let mut looks = 0_u32;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            looks = looks.saturating_add(1);
            let is_told = match told_by(caller) {
                Some(Told::Killed) => true,
                Some(Told::Handler) => !op.changes() && looks >= LOOKS_FOR_HANDLER,
                Some(Told::Gone) => op == Op::Read,
                None => looks >= LOOKS_AT_END && is_killed(caller),
            };
            if is_told && let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                return permit;
            }
        }
    }
}

/// How a caller is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// It ends as soon as it is answered.
    Killed,
    /// It does what it has a handler for.
    Handler,
    /// It has ended.
    Gone,
}

/// What a thread is told.
fn told_by(thread: u32) -> Option<Told> {
    match std::fs::read_to_string(format!("/proc/{thread}/status")) {
        Ok(status) => tells(&status),
        Err(error) => (error.kind() == ErrorKind::NotFound && shows_all()).then_some(Told::Gone),
    }
}

fn tells(status: &str) -> Option<Told> {
    let mut states = status
        .lines()
        .filter_map(|line| line.strip_prefix("State:"));
    if states.any(|state| state.trim_start().starts_with(['Z', 'X'])) {
        return Some(Told::Gone);
    }
    let waiting = signals::waiting(status)?;
    let caught = signals::mask(status, "SigCgt:")?;
    if waiting & !caught & !HARMLESS != 0 {
        Some(Told::Killed)
    } else {
        (waiting & caught & ENDING != 0).then_some(Told::Handler)
    }
}

/// Whether a signal has ended a process, which is closing its files.
fn is_killed(thread: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{thread}/stat"));
    stat.is_ok_and(|stat| {
        flags(&stat).is_some_and(|flags| flags & IS_EXITING != 0 && flags & IS_SIGNALED != 0)
    })
}

/// Field 9. The second field is a name in parentheses that may hold anything.
fn flags(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(6)?.parse().ok()
}

/// What a request came to when nobody waited for it any more.
pub(super) trait Late {
    /// Gives back what only the caller would have.
    fn let_go(self, vfs: &Vfs);
}

impl Late for Opened {
    fn let_go(self, vfs: &Vfs) {
        vfs.release(self.handle);
    }
}

impl Late for DirHandleId {
    fn let_go(self, vfs: &Vfs) {
        vfs.close_directory(self);
    }
}

macro_rules! nothing_to_give_back {
    ($($answer:ty),+ $(,)?) => {
        $(impl Late for $answer {
            fn let_go(self, _vfs: &Vfs) {}
        })+
    };
}

nothing_to_give_back!(
    (),
    Option<(HeldLock, bool)>,
    i64,
    Attr,
    Bytes,
    DirListing,
    Vec<u8>,
    Vec<Vec<u8>>,
    Shown
);

#[cfg(test)]
mod tests {
    use super::*;

    fn status(thread: u64, process: u64, blocked: u64, ignored: u64, caught: u64) -> String {
        format!(
            "Name:\tSigPnd:\nSigQ:\t0/9\nSigPnd:\t{thread:016x}\nShdPnd:\t{process:016x}\n\
             SigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn whoever_is_told_to_end_is_seen_by_its_signals() {
        let one = |signal: i32| mask(&[signal]);
        let told = |thread, process, blocked, ignored, caught| {
            tells(&status(thread, process, blocked, ignored, caught))
        };
        let (int, kill, usr) = (one(libc::SIGINT), one(libc::SIGKILL), one(libc::SIGUSR1));
        let (killed, handler) = (Some(Told::Killed), Some(Told::Handler));
        assert_eq!(told(0, 0, 0, 0, 0), None);
        assert_eq!(told(kill, 0, !kill, 0, 0), killed);
        assert_eq!(told(0, int, 0, 0, 0), killed);
        assert_eq!(told(int, 0, 0, 0, int), handler);
        assert_eq!(told(int | kill, 0, 0, 0, int), killed);
        assert_eq!(told(0, int, int, 0, 0), None, "it is blocked");
        assert_eq!(told(0, int, 0, int, 0), None, "it is ignored");
        assert_eq!(told(0, usr, 0, 0, 0), killed, "there is no handler");
        assert_eq!(
            told(0, usr, 0, 0, usr),
            None,
            "its handler is for something else"
        );
        for harmless in [libc::SIGCHLD, libc::SIGWINCH, libc::SIGTSTP, libc::SIGSTOP] {
            assert_eq!(told(0, one(harmless), 0, 0, 0), None, "{harmless}");
        }
        assert_eq!(tells("SigPnd:\t1\n"), None);
        let gone = format!("State:\tZ (zombie)\n{}", status(0, 0, 0, 0, 0));
        assert_eq!(tells(&gone), Some(Told::Gone));
        assert_eq!(told_by(u32::MAX), Some(Told::Gone));
        assert_eq!(told_by(std::process::id()), None);
    }

    #[test]
    fn whoever_a_signal_ends_is_seen_by_its_flags() {
        let stat = |flags: u64| format!("42 (a) b (c) D 1 42 42 0 -1 {flags} 1 2 3");
        assert_eq!(flags(&stat(4_194_560)), Some(4_194_560));
        assert_eq!(flags("42 (a"), None);
        assert!(!is_killed(std::process::id()));
    }

    #[tokio::test]
    async fn a_caller_that_cannot_be_seen_or_is_not_told_is_not_interrupted() {
        for caller in [0, std::process::id()] {
            let told = Interrupts::default();
            let waited = tokio::time::timeout(3 * LOOK_EVERY, told.told(caller, Op::Read)).await;
            assert!(waited.is_err(), "{caller}");
        }
    }
}
