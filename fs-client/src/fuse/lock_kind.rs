//! What kind of lock a request is about.
//!
//! fuser does not hand on what the kernel says of it, so that a lock by `flock` and a record lock on a
//! whole file look alike, and so do record locks of a process and of an open file. The system call that
//! the thread is in tells: it waits for our answer. It can be read by root, and by others of their own
//! processes unless the system forbids tracing (`kernel.yama.ptrace_scope`).

use meta_core::lock::LockKind;
use std::time::Duration;

/// A thread that has sent a request a moment ago may not have come to rest yet.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_micros(250);

/// The kind of lock that a waiting thread asks for, if that can be read.
pub(super) async fn of(thread: u32) -> Option<LockKind> {
    if thread == 0 {
        return None;
    }
    for _look in 0..LOOKS {
        let text = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
        if text.trim_end() != "running" {
            return kind(&text);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    None
}

/// `NUMBER ARGUMENT...`: the number in decimal, the arguments in hexadecimal.
fn kind(text: &str) -> Option<LockKind> {
    let mut words = text.split_whitespace();
    let call: i64 = words.next()?.parse().ok()?;
    if call == libc::SYS_flock {
        return Some(LockKind::Flock);
    }
    if call != libc::SYS_fcntl {
        return None;
    }
    let command = words.nth(1)?.trim_start_matches("0x");
    match i32::from_str_radix(command, 16).ok()? {
        libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW => Some(LockKind::Posix),
        libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => Some(LockKind::Ofd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_and_its_command_tell_the_kind() {
        let text = |call: i64, command: i32| {
            format!("{call} 0x3 {command:#x} 0x7ffd0 0x0 0x0 0x0 0x7ffd 0x7f01\n")
        };
        let fcntl = libc::SYS_fcntl;
        for (said, expected) in [
            (text(libc::SYS_flock, 2), Some(LockKind::Flock)),
            (text(fcntl, libc::F_SETLKW), Some(LockKind::Posix)),
            (text(fcntl, libc::F_GETLK), Some(LockKind::Posix)),
            (text(fcntl, libc::F_OFD_SETLK), Some(LockKind::Ofd)),
            (text(fcntl, libc::F_DUPFD), None),
            (text(libc::SYS_close, 6), None),
            ("running\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(kind(&said), expected, "{said}");
        }
    }
}
