//! Programs that wait for a cluster that is away end by a signal.

use anyhow::{Context as _, Result};
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::process::Process;
use jepsen::wait;
use rustix::process::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a program may take to end.
const PROMPTLY: Duration = Duration::from_secs(10);
/// Where the kernel lets a process wait for FUSE.
const WAITS: &str = "request_wait_answer";

/// Starts a program, waits until it waits for the mount, and ends it by a signal.
async fn interrupted(words: &[&str], at: &Path, log: &Path, signal: Signal) -> Result<ExitStatus> {
    let (name, rest) = words.split_first().context("a program")?;
    // Signals do to it what they do by default, whatever this process has made of them.
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(name).args(rest).arg(at);
    let mut program = Process::spawn(name, &mut command, log)?;
    let place = format!("/proc/{}/wchan", program.pid());
    wait::until(&format!("{name} to wait"), PATIENCE, async || {
        let waits = fs::read_to_string(&place)?;
        Ok((waits == WAITS).then_some(()).ok_or(waits))
    })
    .await?;
    program.signal(signal)?;
    program.wait(PROMPTLY).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_wait_for_a_cluster_that_is_away_end_by_a_signal() {
    if skip_unless_fuse("programs_that_wait_for_a_cluster_that_is_away_end_by_a_signal") {
        return;
    }
    let mut cluster = Cluster::start(ClusterOptions::new("interrupts", 1))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let (url, dir) = (cluster.url("vol"), cluster.dir().to_owned());
    let mount = |name: &str| {
        let log = dir.join(format!("{name}.log"));
        Mount::start(&url, &dir.join(name), &log, &[]).expect("mounted")
    };
    let first = mount("first");
    fs::create_dir(first.path().join("dir")).expect("a directory");
    fs::write(first.path().join("dir/file"), "data").expect("a file");
    first.unmount().expect("unmounted");
    // It has looked at nothing yet, and so has nothing of it under a lease.
    let second = mount("second");
    let node = cluster.node(1).expect("a node");
    node.kill().expect("killed");
    let log = dir.join("programs.log");
    for signal in [Signal::INT, Signal::KILL] {
        for words in [&["cat"][..], &["ls", "-l"], &["touch"], &["mkdir"]] {
            let at = second.path().join("dir/file");
            let status = interrupted(words, &at, &log, signal).await.expect("ended");
            assert_eq!(
                status.signal(),
                Some(signal.as_raw()),
                "{words:?}: {status}"
            );
        }
    }
    let node = cluster.node(1).expect("a node");
    node.start().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    let file = second.path().join("dir/file");
    assert_eq!(fs::read(&file).expect("a read"), b"data");
    second.unmount().expect("unmounted");
}
