//! Directories that are cloned on real mounts: whole at once, as at one moment, the same in a mirror, and what
//! was begun goes on when a leader dies.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::wait;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const DIRECTORIES: usize = 20;
const FILES: usize = 250;

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

fn curlew(args: &[&str]) -> Command {
    let mut command = Command::new(binary("curlew").expect("built"));
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    curlew(args).output().expect("curlew runs")
}

fn done(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
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

fn names(dir: &Path) -> BTreeSet<u64> {
    let entries = fs::read_dir(dir).expect("a directory");
    let number = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_str().expect("text").parse().expect("a number")
    };
    entries.map(number).collect()
}

/// Many files, some of which hold something.
fn plant(top: &Path) {
    for directory in 0..DIRECTORIES {
        let dir = top.join(format!("d{directory}"));
        fs::create_dir_all(&dir).expect("made");
        for file in 0..FILES {
            let path = dir.join(format!("f{file}"));
            if file % 50 == 0 {
                fs::write(path, vec![directory as u8 | 1; 10_000 + file]).expect("written");
            } else {
                File::create(path).expect("made");
            }
        }
    }
    symlink("d0/f0", top.join("link")).expect("linked");
    fs::hard_link(top.join("d0/f0"), top.join("again")).expect("linked");
    for dir in ["first", "second"] {
        fs::create_dir(top.join(dir)).expect("made");
    }
}

/// Makes names in two directories by turns, each when the one before is there, until it is told to stop.
fn by_turns(top: &Path, stop: &AtomicBool) -> u64 {
    let mut made = 0;
    while !stop.load(Ordering::SeqCst) {
        for dir in ["first", "second"] {
            let path = top.join(dir).join(made.to_string());
            File::create(path).expect("made");
        }
        made += 1;
    }
    made
}

/// What was made by turns is there as it was at one moment.
fn is_of_one_moment(top: &Path) -> u64 {
    let (first, second) = (names(&top.join("first")), names(&top.join("second")));
    let (count, behind) = (first.len() as u64, second.len() as u64);
    assert!(first.iter().copied().eq(0..count), "a gap in {first:?}");
    assert!(second.iter().copied().eq(0..behind), "a gap in {second:?}");
    assert!(count - behind <= 1, "{count} names and {behind} names");
    count
}

fn check_copy(top: &Path) {
    for directory in 0..DIRECTORIES {
        let dir = top.join(format!("d{directory}"));
        assert_eq!(fs::read_dir(&dir).expect("a directory").count(), FILES);
        for file in (0..FILES).step_by(50) {
            let bytes = fs::read(dir.join(format!("f{file}"))).expect("readable");
            assert!(bytes == vec![directory as u8 | 1; 10_000 + file]);
        }
    }
    assert_eq!(
        fs::read_link(top.join("link")).expect("a link"),
        Path::new("d0/f0")
    );
    let one = fs::metadata(top.join("d0/f0")).expect("there");
    let other = fs::metadata(top.join("again")).expect("there");
    assert_eq!((one.ino(), one.nlink()), (other.ino(), 2));
}

fn begun(source: &Path, target: &Path) -> Child {
    let mut command = curlew(&["clone", "-p", text(source), text(target)]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("curlew runs")
}

async fn kill_leader(cluster: &mut Cluster) -> u64 {
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    leader
}

/// Waits until nothing is left of files without names.
async fn reaped(cluster: &Cluster) {
    let url: MetaUrl = cluster.url("vol").parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    let session = session.expect("a session");
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
async fn a_tree_is_cloned_as_at_one_moment_while_it_changes_and_a_leader_dies() {
    if skip_unless_fuse("a_tree_is_cloned_as_at_one_moment_while_it_changes_and_a_leader_dies") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("clones", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let left = mount(&pair.origin, "left");
    let right = mount(&pair.origin, "right");
    let (source, target) = (left.path().join("source"), left.path().join("copy"));
    plant(&source);
    let stored = files_below(&pair.origin.objects());
    let stop = AtomicBool::new(false);
    let (mut killed, mut moments) = (0, Vec::new());
    let made = thread::scope(|scope| {
        let writer = scope.spawn(|| by_turns(&source, &stop));
        let runtime = tokio::runtime::Handle::current();
        for round in 0..4 {
            let target = left.path().join(format!("copy{round}"));
            let mut child = begun(&source, &target);
            if round == 2 {
                killed =
                    tokio::task::block_in_place(|| runtime.block_on(kill_leader(&mut pair.origin)));
            }
            // Whoever sees it sees it whole, also where the name was not there a moment ago.
            let shown = right.path().join(format!("copy{round}"));
            while !shown.exists() {
                if let Some(status) = child.try_wait().expect("a child") {
                    assert!(status.success() && shown.exists(), "{status}");
                }
            }
            check_copy(&shown);
            moments.push(is_of_one_moment(&shown));
            let output = child.wait_with_output().expect("a child");
            assert!(output.status.success(), "{output:?}");
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().expect("the writer")
    });
    assert!(moments.is_sorted() && made > 0, "{moments:?}");
    assert_eq!(
        files_below(&pair.origin.objects()),
        stored,
        "nothing was stored for it"
    );
    // They go their own ways.
    fs::write(left.path().join("copy0/d1/f0"), b"other").expect("written");
    assert_eq!(
        fs::read(right.path().join("source/d1/f0"))
            .expect("there")
            .len(),
        10_000
    );
    fs::write(left.path().join("copy0/d1/f0"), vec![1; 10_000]).expect("written");
    done(&["rmr", "--skip-trash", text(&source)]);
    reaped(&pair.origin).await;
    for round in 0..4 {
        check_copy(&right.path().join(format!("copy{round}")));
    }
    assert!(!target.exists());
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
    ends_sound(pair, killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_cloned_is_refused_with_what_to_do() {
    if skip_unless_fuse("what_cannot_be_cloned_is_refused_with_what_to_do") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut cluster = Cluster::start(ClusterOptions::new("refused-clones", 1))
        .await
        .expect("a node");
    cluster.format("vol").await.expect("formatted");
    cluster.raised("vol", PATIENCE).await.expect("raised");
    let url = cluster.url("vol");
    let left = mount(&cluster, "left");
    let source = left.path().join("source");
    fs::create_dir_all(source.join("inside")).expect("made");
    fs::write(source.join("file"), b"data").expect("written");
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o4640)).expect("set");
    let refused = |args: &[&str], code: i32, word: &str| {
        let output = run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    };
    refused(
        &["clone", &url, "/source", "/source/inside/x"],
        1,
        "into itself",
    );
    refused(&["clone", &url, "/nothing", "/x"], 1, "no such file");
    refused(&["clone", &url, "/source", "/source/file"], 1, "exists");
    refused(&["clone", &url, "/source", "/none/x"], 1, "no directory");
    refused(&["clone", &url], 2, "SRC and DST");
    refused(&["clone", &url, "--cancel", "77"], 1, "--list");
    refused(&["clone", text(&source), "/tmp/x"], 1, "mount");
    let said = done(&["clone", &url, "/source", "/plain"]);
    assert_eq!(said, "3 files were cloned\n");
    let said = done(&[
        "clone",
        "-p",
        "--json",
        text(&source.join("file")),
        text(&left.path().join("kept")),
    ]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["files"], 1);
    let mode = |path: &str| {
        let found = fs::metadata(left.path().join(path)).expect("there");
        found.permissions().mode() & 0o7777
    };
    assert_eq!(
        (mode("plain/file"), mode("kept")),
        (0o640 & !umask(), 0o4640)
    );
    let listed = done(&["clone", "--list", &url]);
    assert!(
        listed.contains("plain") && listed.contains("done"),
        "{listed}"
    );
    left.unmount().expect("unmounted");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let word = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    u32::from_str_radix(word.expect("told").trim(), 8).expect("a number")
}
