//! Locks between real mounts, through the ends of processes, mounts and leaders.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::wait;
use rustix::process::Signal;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// A session that is silent for so long ends.
const TTL_MS: u64 = 2000;

async fn cluster(name: &str, nodes: u64) -> Cluster {
    let mut options = ClusterOptions::new(name, nodes);
    options.session_ttl_ms = Some(TTL_MS);
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    cluster
}

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let point = cluster.dir().join(name);
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

fn open(mount: &Mount) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true);
    file.open(mount.path().join("file")).expect("an open file")
}

fn is_locked(file: &File) -> bool {
    match file.try_lock() {
        Ok(()) => {
            file.unlock().expect("unlocked");
            false
        }
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

/// A process that holds a lock on the mount's file until it ends.
fn holder(mount: &Mount, other: &File) -> Child {
    let mut command = Command::new("flock");
    command.arg("--no-fork").arg(mount.path().join("file"));
    let child = command.args(["sleep", "1000"]).spawn();
    let child = child.expect("flock runs");
    wait::until_blocking("the process to have the lock", PATIENCE, || {
        Ok(is_locked(other).then_some(()).ok_or("it is free".into()))
    })
    .expect("a lock");
    child
}

/// Waits for the lock in a thread; it is in the queue when this returns.
fn waiter(mount: &Mount) -> JoinHandle<File> {
    let file = open(mount);
    let waiting = std::thread::spawn(move || {
        file.lock().expect("the lock");
        file
    });
    let status = mount.path().join(".status");
    wait::until_blocking("the request to wait", PATIENCE, || {
        let status: serde_json::Value = serde_json::from_slice(&std::fs::read(&status)?)?;
        let waits = status["locks"]["waiting"] == 1;
        Ok(waits.then_some(()).ok_or(status["locks"].to_string()))
    })
    .expect("a waiter");
    waiting
}

async fn joined(waiting: JoinHandle<File>) -> File {
    wait::until("the lock", PATIENCE, async || {
        Ok(waiting.is_finished().then_some(()).ok_or("it waits".into()))
    })
    .await
    .expect("in time");
    waiting.join().expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_ends_with_its_process_and_with_its_mount() {
    if skip_unless_fuse("a_lock_ends_with_its_process_and_with_its_mount") {
        return;
    }
    // The tests here take turns: a program that another one starts closes copies of its descriptors, and
    // is told in its place what was lost.
    let _alone = alone().expect("the turn");
    let cluster = cluster("locks", 1).await;
    let (left, right) = (mount(&cluster, "left"), mount(&cluster, "right"));
    let file = open(&right);
    let mut process = holder(&left, &file);
    let waiting = waiter(&right);
    process.kill().expect("killed");
    process.wait().expect("ended");
    drop(joined(waiting).await);

    let mut process = holder(&left, &file);
    let waiting = waiter(&right);
    left.kill().expect("the mount is killed");
    let locked = joined(waiting).await;
    process.kill().expect("killed");
    process.wait().expect("ended");
    drop((file, locked));
    right.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_lock_outlives_the_leader() {
    if skip_unless_fuse("who_waits_for_a_lock_outlives_the_leader") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut cluster = cluster("lockleader", 3).await;
    let (left, right) = (mount(&cluster, "left"), mount(&cluster, "right"));
    let file = open(&left);
    file.lock().expect("a lock");
    let waiting = waiter(&right);
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    file.unlock().expect("unlocked");
    drop(joined(waiting).await);
    drop(file);
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
}

fn content(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("file")).expect("read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_stood_still_writes_nothing_under_the_lock_that_it_lost() {
    if skip_unless_fuse("a_mount_that_stood_still_writes_nothing_under_the_lock_that_it_lost") {
        return;
    }
    let _alone = alone().expect("the turn");
    let cluster = cluster("lockfence", 1).await;
    let (mut left, right) = (mount(&cluster, "left"), mount(&cluster, "right"));
    let old = open(&left);
    old.lock().expect("a lock");
    let waiting = waiter(&right);
    old.write_all_at(b"old", 0).expect("taken in");
    left.process()
        .signal(Signal::STOP)
        .expect("it stands still");
    let new = joined(waiting).await;
    new.write_all_at(b"new", 0).expect("taken in");
    new.sync_all().expect("stored");
    left.process().signal(Signal::CONT).expect("it goes on");
    let late = old.sync_all().expect_err("the lock is lost");
    assert_eq!(
        late.raw_os_error(),
        Some(rustix::io::Errno::IO.raw_os_error())
    );
    let again = old.write_all_at(b"old", 0).expect_err("the lock is lost");
    assert_eq!(
        again.raw_os_error(),
        Some(rustix::io::Errno::IO.raw_os_error())
    );
    assert_eq!(content(right.path()), b"new");
    assert_eq!(content(left.path()), b"new");
    drop((old, new));
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
}

/// A node that dies before anybody has used a lock takes none away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_given_while_a_node_is_dead() {
    if skip_unless_fuse("locks_are_given_while_a_node_is_dead") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut cluster = cluster("lockdead", 3).await;
    let left = mount(&cluster, "left");
    let file = open(&left);
    wait::until("all nodes to know what all read", PATIENCE, async || {
        for id in cluster.ids() {
            if !cluster.node(id)?.has_said("all members read commands")? {
                return Ok(Err(format!("node {id} does not")));
            }
        }
        Ok(Ok(()))
    })
    .await
    .expect("known");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    file.lock().expect("a lock");
    file.unlock().expect("unlocked");
    drop(file);
    left.unmount().expect("unmounted");
}
