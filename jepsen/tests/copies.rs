//! Ranges that are copied and slices that become few, on real mounts: seen by everybody at once, the same in
//! a mirror, and what was acknowledged survives the leader's death.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::cluster::Cluster;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::wait;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::ids::{ChunkIndex, Ino};
use meta_client::meta_core::query::{Answer, QueryBody, SliceCursor};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use rustix::fs::copy_file_range;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: usize = 9_000_001;
const APPENDS: usize = 600;

fn mount(cluster: &Cluster, name: &str, flags: &[&str]) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, flags).expect("mounted")
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.expect("opened")
}

/// Files below a directory.
fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).expect("a directory");
    let count = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_below(&path) } else { 1 }
    };
    entries.map(count).sum()
}

async fn session(cluster: &Cluster) -> MetaSession {
    let url: MetaUrl = cluster.url("vol").parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    session.expect("a session")
}

async fn kill_leader(cluster: &mut Cluster) -> u64 {
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    leader
}

async fn ends_sound(mut pair: Pair, killed: u64) {
    let node = pair.origin.node(killed).expect("a node");
    node.start().expect("started");
    pair.origin.wait_ready(PATIENCE).await.expect("ready");
    pair.caught_up(PATIENCE).await.expect("caught up");
    pair.agreed(PATIENCE).await.expect("the sides agree");
    let verified = pair.mirroring().await.expect("both").verify().await;
    let verified = verified.expect("verified");
    assert!(verified.agrees(), "{verified:?}");
    for side in [&mut pair.origin, &mut pair.mirror] {
        side.check_stores(PATIENCE).await.expect("sound stores");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_share_what_is_stored_while_a_leader_dies() {
    if skip_unless_fuse("copies_share_what_is_stored_while_a_leader_dies") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("copies", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let left = mount(&pair.origin, "left", &["--no-worker"]);
    let right = mount(&pair.origin, "right", &["--no-worker"]);
    let source: Vec<u8> = (0..BYTES).map(|at| (at * 7 / 3 % 251) as u8 | 1).collect();
    fs::write(left.path().join("from"), &source).expect("written");
    fs::write(left.path().join("to"), b"").expect("made");
    let stored = files_below(&pair.origin.objects());
    let (from, to) = (
        open(&left.path().join("from")),
        open(&left.path().join("to")),
    );
    let mut model = Vec::new();
    let mut killed = 0;
    for round in 0..30_usize {
        if round == 10 {
            killed = kill_leader(&mut pair.origin).await;
        }
        let at = round * 424_243 % (BYTES - 400_000);
        let (place, len) = (round * 777_777 % 5_000_000, 1 + round * 9_973);
        let (mut offset, mut to_offset) = (at as u64, place as u64);
        while (offset as usize) < at + len {
            let left = at + len - offset as usize;
            let copied = copy_file_range(&from, Some(&mut offset), &to, Some(&mut to_offset), left);
            assert!(copied.expect("copied") > 0, "round {round}");
        }
        model.resize(model.len().max(place + len), 0);
        model[place..place + len].copy_from_slice(&source[at..at + len]);
        let read = fs::read(right.path().join("to")).expect("readable");
        assert!(
            read == model,
            "round {round}: the other mount shows the copy"
        );
    }
    assert_eq!(
        files_below(&pair.origin.objects()),
        stored,
        "nothing was stored for it"
    );
    drop((from, to));
    fs::remove_file(left.path().join("from")).expect("removed");
    let purged = Command::new(binary("curlew").expect("built"))
        .args(["trash", &pair.origin.url("vol"), "--purge"])
        .output()
        .expect("curlew runs");
    assert!(purged.status.success(), "{purged:?}");
    reaped(&pair.origin).await;
    assert!(fs::read(right.path().join("to")).expect("readable") == model);
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
    ends_sound(pair, killed).await;
}

/// Waits until nothing is left of files without names.
async fn reaped(cluster: &Cluster) {
    let session = session(cluster).await;
    wait::until("what was purged to go", PATIENCE, async || {
        let stat = session.query(Caller::root(), QueryBody::StatVolume).await?;
        let Answer::Stat(stat) = stat else {
            panic!("{stat:?}")
        };
        let trash = stat.trash.is_none_or(|trash| trash.inodes == 0);
        let is_gone = stat.orphans == 0 && trash;
        Ok(is_gone.then_some(()).ok_or(format!("{stat:?}")))
    })
    .await
    .expect("reaped");
    session.close().await;
}

async fn slices(session: &MetaSession, ino: Ino) -> usize {
    let body = QueryBody::ReadSlices {
        ino,
        from: SliceCursor::default(),
        end: ChunkIndex(1),
    };
    match session.query(Caller::root(), body).await {
        Ok(Answer::Slices {
            slices, next: None, ..
        }) => slices.len(),
        other => panic!("{other:?}"),
    }
}

async fn is_all_compacted(session: &MetaSession) -> bool {
    let body = QueryBody::Compactable {
        after: (Ino(0), ChunkIndex(0)),
        count_max: 1,
    };
    match session.query(Caller::root(), body).await {
        Ok(Answer::Chunks(chunks)) => chunks.is_empty(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_writes_become_few_slices_while_a_leader_dies() {
    if skip_unless_fuse("many_small_writes_become_few_slices_while_a_leader_dies") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("compaction", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let left = mount(&pair.origin, "left", &[]);
    let right = mount(&pair.origin, "right", &[]);
    let path = left.path().join("f");
    let mut file = File::create(&path).expect("made");
    let mut model = Vec::new();
    let mut killed = 0;
    for round in 0..APPENDS {
        if round == APPENDS / 2 {
            killed = kill_leader(&mut pair.origin).await;
        }
        let piece: Vec<u8> = (0..3000).map(|at| ((at + round) % 251) as u8).collect();
        file.write_all(&piece).expect("written");
        file.sync_data().expect("stored");
        model.extend(piece);
    }
    let ino = Ino(fs::metadata(&path).expect("there").ino());
    let asking = session(&pair.origin).await;
    wait::until("a worker to have compacted", PATIENCE, async || {
        let done = is_all_compacted(&asking).await;
        Ok(done.then_some(()).ok_or("chunks wait".to_owned()))
    })
    .await
    .expect("compacted");
    let few = slices(&asking, ino).await;
    assert!(few < APPENDS / 6, "{few} slices of {APPENDS} writes");
    assert!(fs::read(right.path().join("f")).expect("readable") == model);
    let compacted = Command::new(binary("curlew").expect("built"))
        .args(["compact", &pair.origin.url("vol"), "/"])
        .output()
        .expect("curlew runs");
    assert!(compacted.status.success(), "{compacted:?}");
    assert_eq!(slices(&asking, ino).await, 1);
    asking.close().await;
    drop(file);
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
    let again = mount(&pair.origin, "again", &[]);
    assert!(fs::read(again.path().join("f")).expect("readable") == model);
    again.unmount().expect("unmounted");
    ends_sound(pair, killed).await;
}
