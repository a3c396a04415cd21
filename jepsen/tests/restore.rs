//! The drill: a volume is dumped while it is used, its cluster is lost, and another one makes a volume
//! of the dump.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::writer::Crew;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const FILES: usize = 40;
/// Places at which a dump is damaged.
const DAMAGES: usize = 40;

fn curlew(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(jepsen::binaries::binary("curlew").expect("built"));
    let output = command.args(arguments).output().expect("curlew runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(errors)
    }
}

fn mount(cluster: &Cluster, volume: &str, name: &str) -> Mount {
    let point = cluster.dir().join(name);
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start(&cluster.url(volume), &point, &log, &[]).expect("mounted")
}

fn contents(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut content = |number: usize| {
        let most = if number.is_multiple_of(8) {
            9_000_000
        } else {
            200_000
        };
        let mut bytes = vec![0; rng.random_range(1..most)];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..FILES).map(&mut content).collect()
}

fn write(dir: &Path, name: &str, contents: &[Vec<u8>]) {
    for (number, content) in contents.iter().enumerate() {
        fs::write(dir.join(format!("{name}{number}")), content).expect("written");
    }
}

fn compare(dir: &Path, name: &str, contents: &[Vec<u8>]) {
    for (number, content) in contents.iter().enumerate() {
        let read = fs::read(dir.join(format!("{name}{number}"))).expect("readable");
        assert!(read == *content, "{name}{number}: {} bytes", read.len());
    }
}

/// A dump that was damaged or cut anywhere is refused, and says so.
fn damage(whole: &Path, url: &str, rng: &mut StdRng) {
    let bytes = fs::read(whole).expect("readable");
    let damaged = whole.with_extension("damaged");
    let file = damaged.to_str().expect("a name of ours");
    for number in 0..DAMAGES {
        let mut bytes = bytes.clone();
        let at = rng.random_range(0..bytes.len());
        if number.is_multiple_of(4) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        fs::write(&damaged, bytes).expect("written");
        let why = curlew(&["load", file, url]).expect_err("it was taken for whole");
        let said = why.contains("damaged") || why.contains("no dump");
        assert!(said, "byte {at}: {why}");
    }
}

/// Writes a volume, dumps it on the way to `file`, and loses its cluster; what was there at the dump.
async fn dump(cluster: &mut Cluster, file: &str, rng: &mut StdRng) -> Vec<Vec<u8>> {
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 1, 4, rng.random())
        .await
        .expect("writers");
    crew.progress(1_000, PATIENCE).await.expect("writes");
    let files = mount(cluster, "vol", "first");
    let before = contents(rng);
    write(files.path(), "file", &before);
    let said = curlew(&["dump", &url, file]).expect("dumped");
    notice(&format!("restore: {}", said.trim()));
    let why = curlew(&["dump", &url, file]).expect_err("it was replaced");
    assert!(why.contains("exists"), "{why}");
    crew.progress(300, PATIENCE).await.expect("writes go on");
    // Blocks behind the dump lie in the bucket, under names that must not be given once more.
    write(files.path(), "later", &contents(rng));
    files.unmount().expect("unmounted");
    crew.stop(PATIENCE).await.expect("the writers end");
    for id in cluster.ids() {
        cluster.node(id).expect("a node").kill().expect("killed");
        cluster.node(id).expect("a node").wipe().expect("wiped");
    }
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_made_of_a_dump_after_its_cluster_was_lost() {
    if skip_unless_fuse("a_volume_is_made_of_a_dump_after_its_cluster_was_lost") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut rng = StdRng::seed_from_u64(seed("restore").expect("a seed"));
    let mut lost = Cluster::start(ClusterOptions::new("dumped", 3))
        .await
        .expect("a cluster");
    let file = lost.dir().join("vol.dump");
    let name = file.to_str().expect("a name of ours");
    let before = dump(&mut lost, name, &mut rng).await;

    let mut cluster = Cluster::start(ClusterOptions::new("restored", 3))
        .await
        .expect("a cluster");
    let url = cluster.url("back");
    damage(&file, &url, &mut rng);
    let said = curlew(&["load", name, &url]).expect("loaded");
    assert!(said.contains("curlew mount"), "{said}");
    for taken in [&url, &cluster.url("other")] {
        let why = curlew(&["load", name, taken]).expect_err("it was loaded twice");
        assert!(why.contains("under another name"), "{why}");
    }
    let files = mount(&cluster, "back", "second");
    compare(files.path(), "file", &before);
    assert!(
        !files.path().join("later0").exists(),
        "it came after the dump"
    );
    let after = contents(&mut rng);
    write(files.path(), "new", &after);
    files.unmount().expect("nothing was lost");
    let files = mount(&cluster, "back", "third");
    compare(files.path(), "file", &before);
    compare(files.path(), "new", &after);
    files.unmount().expect("unmounted");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
