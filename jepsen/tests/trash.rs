//! The trash on real clusters: a tree that was removed comes back although leaders die on the way, and
//! what has been there long enough is deleted by the leader, with its data.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::curlew::{complaint, curlew, said};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::wait;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::query::{Answer, QueryBody, TrashStat, VolumeStat};
use meta_client::{MetaSession, SessionOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

/// Every path below a directory, and what is there: mode, owner, time and content.
type Tree = BTreeMap<String, (u32, u32, i64, Vec<u8>)>;

fn look(top: &Path, at: &Path, found: &mut Tree) {
    for entry in fs::read_dir(at).expect("a directory") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("stat");
        let content = if meta.is_dir() {
            look(top, &path, found);
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path)
                .expect("a target")
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).expect("a read")
        };
        // What is in a directory changes its time.
        let mtime = if meta.is_dir() { 0 } else { meta.mtime_nsec() };
        let name = path.strip_prefix(top).expect("below").display().to_string();
        found.insert(name, (meta.mode(), meta.uid(), mtime, content));
    }
}

fn tree(top: &Path) -> Tree {
    let mut found = Tree::new();
    look(top, top, &mut found);
    found
}

fn fill(top: &Path) {
    for dir in 0..6_usize {
        let dir = top.join(format!("d{dir}/inner"));
        fs::create_dir_all(&dir).expect("a directory");
        for file in 0..20_usize {
            let bytes = vec![file as u8 + 1; 1 + file * 3_001];
            fs::write(dir.join(format!("f{file}")), bytes).expect("a write");
        }
        symlink("f0", dir.join("link")).expect("a symlink");
    }
}

async fn session(url: &str) -> MetaSession {
    let url = url.parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    session.expect("a session")
}

async fn stat(session: &MetaSession) -> VolumeStat {
    match session.query(Caller::root(), QueryBody::StatVolume).await {
        Ok(Answer::Stat(stat)) => stat,
        other => panic!("{other:?}"),
    }
}

fn kill_leader(cluster: &mut Cluster, leader: u64) {
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    node.start().expect("started");
}

/// Puts the tree back: a file of it first, with the directories above it, then all that is left.
fn restored(url: &str, shown: &Path) {
    let words = ["restore", url, "/tree/d4/inner/f7", "--json"];
    assert_eq!(said(&words)["files"], 1, "with the directories above it");
    let one = fs::read(shown.join("tree/d4/inner/f7")).expect("it is back");
    assert_eq!(one, vec![8; 1 + 7 * 3_001]);
    let taken = complaint(&["restore", url, "/tree/d4/inner/f7"]);
    assert!(taken.contains("nothing in the trash"), "{taken}");
    let report = said(&["restore", url, "/tree", "--json"]);
    assert_eq!(
        (&report["failed"], &report["taken"]),
        (&0.into(), &0.into())
    );
    assert_eq!(report["files"], 6 * 21 - 1);
}

/// Has the volume keep what is removed for 2 s, and waits until all that was is deleted.
async fn purged(url: &str, session: &MetaSession, base: &VolumeStat) {
    let config = said(&["config", url, "--trash-days", "2s", "--json"]);
    assert_eq!(config["trash_seconds"], 2);
    wait::until("what is due to be deleted", PATIENCE, async || {
        let now = stat(session).await;
        let trash: Option<TrashStat> = now.trash;
        let is_done = now.inodes == base.inodes && now.orphans == 0;
        let is_empty = trash.is_some_and(|trash| trash.inodes == 0 && trash.bytes == 0);
        Ok((is_done && is_empty)
            .then_some(())
            .ok_or_else(|| format!("{now:?}")))
    })
    .await
    .expect("deleted");
    let after = stat(session).await;
    assert!(
        after.pending_delete_slices >= 6 * 20,
        "its data goes: {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_tree_comes_back_and_what_is_due_is_deleted() {
    if skip_unless_fuse("a_removed_tree_comes_back_and_what_is_due_is_deleted") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("trash", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    let url = pair.origin_url();
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let (left, right) = (mount(&pair.origin, "left"), mount(&pair.origin, "right"));
    let session = session(&url).await;
    let base = stat(&session).await;
    fill(&left.path().join("tree"));
    let before = tree(left.path());
    assert_eq!(before.len(), 1 + 6 * (2 + 21));

    // Half of it goes before the leader dies, half after.
    for dir in 0..3 {
        fs::remove_dir_all(left.path().join(format!("tree/d{dir}"))).expect("removed");
    }
    let leader = pair.origin.leader(PATIENCE).await.expect("a leader");
    kill_leader(&mut pair.origin, leader);
    fs::remove_dir_all(left.path().join("tree")).expect("removed");
    assert_eq!(tree(left.path()), Tree::new());
    let kept = stat(&session).await;
    assert_eq!(
        kept.trash.map(|trash| trash.inodes),
        Some(before.len() as u64)
    );
    assert_eq!(
        kept.inodes,
        base.inodes + before.len() as u64,
        "it is counted as used"
    );
    assert_eq!(kept.orphans, 0);

    let leader = pair.origin.leader(PATIENCE).await.expect("a leader");
    kill_leader(&mut pair.origin, leader);
    restored(&url, right.path());
    for mount in [&left, &right] {
        assert!(tree(mount.path()) == before, "the tree is what it was");
    }
    assert_eq!(
        stat(&session).await.trash.map(|trash| trash.inodes),
        Some(0)
    );

    fs::remove_dir_all(left.path().join("tree")).expect("removed");
    purged(&url, &session, &base).await;
    let gone = complaint(&["restore", &url, "/tree"]);
    assert!(gone.contains("--list"), "{gone}");
    session.close().await;
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
    pair.origin.wait_ready(PATIENCE).await.expect("ready");
    pair.caught_up(PATIENCE).await.expect("caught up");
    pair.agreed(PATIENCE).await.expect("the sides agree");
    for side in [&mut pair.origin, &mut pair.mirror] {
        side.check_stores(PATIENCE).await.expect("sound stores");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_goes_past_the_trash_and_empties_it() {
    if skip_unless_fuse("root_goes_past_the_trash_and_empties_it") {
        return;
    }
    let options = ClusterOptions::new("trash-empty", 1);
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    cluster.raised("vol", PATIENCE).await.expect("raised");
    let config = said(&["config", &url, "--json"]);
    assert_eq!(
        config["trash_seconds"], 86_400,
        "a day, if nothing else was said"
    );
    let mount = mount(&cluster, "mount");
    let session = session(&url).await;
    let trashed = async || stat(&session).await.trash.expect("a trash").inodes;
    fill(&mount.path().join("past"));
    said(&["rmr", &url, "--path", "/past", "--skip-trash", "--json"]);
    assert_eq!(trashed().await, 0);

    for text in ["first", "second"] {
        fs::create_dir(mount.path().join("dir")).expect("a directory");
        fs::write(mount.path().join("dir/file"), text).expect("a write");
        fs::remove_dir_all(mount.path().join("dir")).expect("removed");
    }
    let listed = curlew(&["restore", &url, "/dir", "--list", "--json"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let paths: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["path"].as_str())
        .collect();
    assert_eq!(paths, ["/dir", "/dir/file", "/dir", "/dir/file"]);
    let id = lines[3]["id"].to_string();
    said(&["restore", &url, "--id", &id, "--to", "/found", "--json"]);
    let found = fs::read_to_string(mount.path().join("found"));
    assert_eq!(found.expect("a read"), "first", "the older of the two");
    let missing = complaint(&["restore", &url, "/dir/file", "--to", "/none/file"]);
    assert!(missing.contains("no directory /none"), "{missing}");
    said(&["restore", &url, "/dir", "--to", "/back", "--json"]);
    let back = fs::read_to_string(mount.path().join("back/file"));
    assert_eq!(back.expect("a read"), "second");

    assert_eq!(trashed().await, 1);
    assert_eq!(said(&["trash", &url, "--purge", "--json"])["files"], 1);
    assert_eq!(trashed().await, 0);
    session.close().await;
    mount.unmount().expect("unmounted");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
