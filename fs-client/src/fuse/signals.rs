//! Whether a signal waits for a thread that waits for an answer.
//!
//! The kernel tells a FUSE server of an interrupted request by a message that fuser answers as unknown,
//! after which it sends none any more: a request that takes long has to look by itself. A signal that is
//! neither blocked nor ignored stays pending as long as the thread cannot return to its program, and is
//! to be seen in `/proc`.

use std::time::Duration;

/// Between two looks: soon at first, for programs that wait with a short alarm.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(80);
/// A signal of the whole process may be another thread's, which takes it at once: it counts if it is there
/// twice.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Whether `/proc` shows processes of others, too: one that is hidden (`hidepid`) is not gone.
pub(super) fn shows_all() -> bool {
    std::fs::exists("/proc/1/status").unwrap_or(false)
}

/// Waits until a signal interrupts the thread, or it is gone. Never ends where that cannot be seen: for a
/// thread of another pid namespace, or with a `/proc` that hides it.
pub(super) async fn interrupted(thread: u32) {
    let mut pause = LOOK_FIRST;
    if thread == 0 || (look(thread).is_none() && !shows_all()) {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(pause).await;
        if look(thread) != Some(false) {
            tokio::time::sleep(LOOK_AGAIN).await;
            if look(thread) != Some(false) {
                return;
            }
        }
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// Whether a signal waits to interrupt the thread; `None` if it cannot be looked at.
fn look(thread: u32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    is_interrupted(&status)
}

fn is_interrupted(status: &str) -> Option<bool> {
    Some(waiting(status)? != 0)
}

/// The signals that wait to reach a thread: pending ones, neither blocked nor ignored.
pub(super) fn waiting(status: &str) -> Option<u64> {
    let pending = mask(status, "SigPnd:")? | mask(status, "ShdPnd:")?;
    Some(pending & !mask(status, "SigBlk:")? & !mask(status, "SigIgn:")?)
}

/// A line of signals in `/proc/TID/status`, one bit each.
pub(super) fn mask(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(own: &str, shared: &str, blocked: &str, ignored: &str) -> String {
        format!(
            "Name:\tx\nSigQ:\t0/100\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\n\
             SigIgn:\t{ignored}\nSigCgt:\t0000000000000002\n"
        )
    }

    #[test]
    fn a_pending_signal_interrupts_unless_it_is_blocked_or_ignored() {
        let (none, int) = ("0000000000000000", "0000000000000002");
        for (text, expected) in [
            (status(none, none, none, none), false),
            (status(int, none, none, none), true),
            (status(none, int, none, none), true),
            (status(int, int, int, none), false),
            (status(none, int, none, int), false),
        ] {
            assert_eq!(is_interrupted(&text), Some(expected), "{text}");
        }
        assert_eq!(is_interrupted("Name:\tx\n"), None);
    }

    #[test]
    fn this_thread_can_be_looked_at() {
        assert_eq!(look(std::process::id()), Some(false));
        assert_eq!(look(u32::MAX), None);
    }
}
