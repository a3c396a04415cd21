//! A node that runs out of space refuses to grow, lets people delete, and recovers by itself.

use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::scratch::{Scratch, notice};
use jepsen::wait;
use jepsen::writer::{make, name};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::{MetaSession, SessionOptions};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// A small file system of its own, so that nothing else on the machine changes its free space.
struct SmallDisk {
    at: PathBuf,
    _scratch: Scratch,
}

impl SmallDisk {
    fn mount(bytes: u64) -> Self {
        let scratch = Scratch::new("disk").expect("a directory");
        let at = scratch.path().join("disk");
        fs::create_dir(&at).expect("a mount point");
        let size = std::ffi::CString::new(format!("size={bytes}")).expect("no NUL");
        mount(
            "tmpfs",
            &at,
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )
        .expect("tmpfs");
        Self {
            at,
            _scratch: scratch,
        }
    }

    fn free(&self) -> u64 {
        let about = rustix::fs::statvfs(&self.at).expect("statvfs");
        about.f_bavail * about.f_frsize
    }

    /// Takes space until only `left` bytes are free.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.at.join("ballast");
        let bytes = self.free() - left;
        let file = File::create_new(&path).expect("a ballast file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("space");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.at, UnmountFlags::DETACH) {
            notice(&format!("cannot unmount {}: {error}", self.at.display()));
        }
    }
}

async fn try_create(session: &MetaSession, text: &str) -> Result<(), String> {
    let made = make(session, Ino::ROOT, text, NewNode::Regular).await;
    made.map(drop).map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_reserve_creates_are_refused_and_deletes_work_until_space_comes_back() {
    if !rustix::process::geteuid().is_root() {
        jepsen::fuse::skip("the reserve", "it mounts a tmpfs, which needs root");
        return;
    }
    let disk = SmallDisk::mount(768 * MIB);
    let options = ClusterOptions {
        reserve_bytes: 256 * MIB,
        data_root: Some(Path::new(&disk.at).to_owned()),
        ..ClusterOptions::new("reserve", 1)
    };
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol").parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default())
        .await
        .expect("a session");
    try_create(&session, "early").await.expect("there is space");
    try_create(&session, "spare").await.expect("there is space");

    let ballast = disk.fill(128 * MIB);
    let mut number = 0;
    let refused = wait::until("creates to be refused", PATIENCE, async || {
        number += 1;
        let made = try_create(&session, &format!("late{number}")).await;
        Ok(made
            .err()
            .ok_or_else(|| format!("late{number} was still made")))
    });
    let why = refused.await.expect("refused");
    assert!(why.contains("space"), "it says why: {why}");
    let parent = Ino::ROOT;
    for gone in ["early", "late1"]
        .into_iter()
        .take(usize::from(number > 1) + 1)
    {
        let name = name(gone).expect("a name");
        let answer = session
            .execute(Caller::root(), Operation::Unlink { parent, name })
            .await;
        answer.unwrap_or_else(|e| panic!("deleting {gone} works below the reserve: {e}"));
    }

    fs::remove_file(&ballast).expect("space is given back");
    wait::until(
        "creates to work again without a restart",
        PATIENCE,
        async || {
            number += 1;
            Ok(try_create(&session, &format!("again{number}")).await)
        },
    )
    .await
    .expect("created");
    session.close().await;
}
