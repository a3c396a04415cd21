//! A mount that is told to end while it is still mounting.

use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whether the process has a handler for SIGINT.
fn listens(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("hexadecimal");
    caught & (1 << (Signal::INT.as_raw() - 1)) != 0
}

#[test]
fn a_mount_is_interrupted_before_its_cluster_answers() {
    let point = tempfile::tempdir().expect("a directory");
    // Nobody listens there, and the mount tries for a while.
    let child = Command::new(env!("CARGO_BIN_EXE_curlew"))
        .args(["mount", "curlew://127.0.0.1:1/none"])
        .arg(point.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a mount");
    let end = Instant::now() + Duration::from_secs(8);
    while !listens(child.id()) {
        assert!(Instant::now() < end, "it does not listen");
        std::thread::yield_now();
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::INT).expect("told to end");
    let ended = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("ended by SIGINT"), "{said}");
}
