//! Ranges that become holes, on real mounts: seen by everybody at once, the same in a mirror, and what
//! was acknowledged survives the leader's death.

use jepsen::alone::alone;
use jepsen::cluster::Cluster;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const BYTES: usize = 9_000_001;

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.expect("opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_are_seen_by_all_and_survive_the_leader() {
    if skip_unless_fuse("holes_are_seen_by_all_and_survive_the_leader") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("holes", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let (left, right) = (mount(&pair.origin, "left"), mount(&pair.origin, "right"));
    let mut model: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8 | 1).collect();
    fs::write(left.path().join("f"), &model).expect("written");
    let file = open(&left.path().join("f"));
    let mut killed = 0;
    for round in 0..20_usize {
        if round == 10 {
            killed = pair.origin.leader(PATIENCE).await.expect("a leader");
            pair.origin
                .node(killed)
                .expect("a node")
                .kill()
                .expect("killed");
        }
        let (at, len) = ((round * 424_243) % (BYTES - 200_000), 1 + round * 9_973);
        fallocate(&file, PUNCH, at as u64, len as u64).expect("a hole");
        model[at..at + len].fill(0);
        let read = fs::read(right.path().join("f")).expect("readable");
        assert!(
            read == model,
            "round {round}: the other mount shows the hole"
        );
    }
    fallocate(&file, FallocateFlags::ZERO_RANGE, BYTES as u64 - 10, 20).expect("zeros");
    model[BYTES - 10..].fill(0);
    model.resize(BYTES + 10, 0);
    assert!(fs::read(right.path().join("f")).expect("readable") == model);
    born_is_told(&left.path().join("f"));
    drop(file);
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
    pair.origin
        .node(killed)
        .expect("a node")
        .start()
        .expect("started");
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

/// `curlew info` says when a file was made.
fn born_is_told(path: &Path) {
    let curlew = jepsen::binaries::binary("curlew").expect("built");
    let told = Command::new(curlew)
        .arg("info")
        .arg(path)
        .arg("--json")
        .output();
    let told = told.expect("curlew runs");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert!(told["btime"].as_str() <= told["mtime"].as_str(), "{told}");
    assert!(told["btime"].is_string(), "{told}");
}
