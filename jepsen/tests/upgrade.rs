//! The programs of this commit and those of the commit before the last one that touched a format work
//! together, whoever leads, sends, mounts or mirrors.

use jepsen::alone::alone;
use jepsen::binaries::{Build, skip_without_previous};
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::writer::{Crew, Written, check, make};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::path::{Links, PathEnd, Resolve};
use meta_client::meta_core::task::Task;
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// To let a node lead for some hundred writes.
const TRIES: u32 = 5;

fn options(name: &str, nodes: u64, build: Build) -> ClusterOptions {
    ClusterOptions {
        snapshot_entries: Some(500),
        keep_entries: Some(100),
        build,
        ..ClusterOptions::new(name, nodes)
    }
}

/// As [`options`], for volumes that are to be taken in by the other build.
fn options_of_both(name: &str, nodes: u64, build: Build) -> ClusterOptions {
    ClusterOptions {
        raise_levels: false,
        ..options(name, nodes, build)
    }
}

/// Whether there is no previous build. One that is this build would prove nothing.
fn skip(test: &str) -> bool {
    if skip_without_previous(test).expect("`make previous` ran") {
        return true;
    }
    for name in ["curlew-meta", "curlew"] {
        let [this, previous] =
            Build::ALL.map(|build| fs::read(build.program(name).expect("built")).expect("read"));
        assert!(this != previous, "both builds have the same {name}");
    }
    false
}

async fn begin(name: &str, build: Build, seed: u64) -> (Cluster, Crew) {
    let cluster = Cluster::start(options(name, 3, build)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let crew = Crew::begin(&cluster.url("vol"), 2, 4, seed).await;
    let crew = crew.expect("writers");
    crew.progress(500, PATIENCE).await.expect("writes");
    (cluster, crew)
}

/// Stops a node and starts it from a build.
async fn change(cluster: &mut Cluster, id: u64, build: Build) {
    let node = cluster.node(id).expect("a node");
    let status = node.stop(PATIENCE).await.expect("it ends");
    assert!(status.success(), "a clean stop exits 0: {status}");
    node.set_build(build);
    node.start().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
}

/// Nothing that was acknowledged is missing, all nodes have the same, and this build reads what each
/// has on its disk.
async fn end(cluster: &mut Cluster, written: &[Written]) {
    let agreement = cluster.digests_equal(PATIENCE).await;
    let agreement = agreement.expect("equal digests");
    let checked = check(&cluster.url("vol"), written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    notice(&format!("upgrade: {checked:?}; {agreement}"));
    assert_eq!(checked.unknown, 0, "sessions live through clean stops");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

/// Lets a node of each build lead, as far as there is one, under writers. Gives which there are.
async fn let_each_lead(cluster: &mut Cluster, crew: &Crew) -> BTreeSet<Build> {
    let mut builds = BTreeSet::new();
    for id in cluster.ids() {
        if !builds.insert(cluster.node(id).expect("a node").build()) {
            continue;
        }
        let mut leads = false;
        for _ in 0..TRIES {
            cluster.make_lead(id, PATIENCE).await.expect("it leads");
            crew.progress(200, PATIENCE).await.expect("writes go on");
            // A slow machine may have had an election meanwhile.
            leads = cluster.leader(PATIENCE).await.expect("a leader") == id;
            if leads {
                break;
            }
        }
        assert!(leads, "the writes go through it");
    }
    builds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_upgraded_node_by_node_and_either_build_leads_it() {
    if skip("a_cluster_is_upgraded_node_by_node_and_either_build_leads_it") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    let (mut cluster, crew) = begin("rolled", Build::Previous, seed).await;
    let mut together = 0;
    for id in cluster.ids() {
        change(&mut cluster, id, Build::This).await;
        crew.progress(100, PATIENCE).await.expect("writes go on");
        let led = let_each_lead(&mut cluster, &crew).await;
        together += usize::from(led == Build::ALL.into());
    }
    assert_eq!(together, 2, "both led while two, and while one, were old");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    end(&mut cluster, &written).await;
}

async fn claim(session: &MetaSession) -> Result<Success, ClientError> {
    let operation = Operation::ClaimTask {
        task: Task::Backup,
        interval_ms: 3_600_000,
    };
    session.execute(Caller::root(), operation).await
}

/// A command that came after the previous build was made would stop a node of it: it cannot read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_this_build_reads_waits_until_all_members_are_of_it() {
    let name = "what_only_this_build_reads_waits_until_all_members_are_of_it";
    if skip(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    let (mut cluster, crew) = begin("unread", Build::Previous, seed).await;
    for id in [1, 2] {
        change(&mut cluster, id, Build::This).await;
    }
    cluster
        .make_lead(1, PATIENCE)
        .await
        .expect("this build leads");
    let url: MetaUrl = cluster.url("vol").parse().expect("our own URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    let session = session.expect("a session");
    // A previous build that is not so old may take it.
    let early = claim(&session).await;
    notice(&format!("upgrade: a claim among both builds: {early:?}"));
    crew.progress(200, PATIENCE).await.expect("writes go on");
    cluster
        .wait_ready(PATIENCE)
        .await
        .expect("nobody was stopped");
    change(&mut cluster, 3, Build::This).await;
    crew.progress(100, PATIENCE).await.expect("writes go on");
    let claimed = claim(&session).await.expect("all read it");
    assert!(matches!(claimed, Success::Claimed(_)), "{claimed:?}");
    session.close().await;
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    end(&mut cluster, &written).await;
}

/// A leader that does not know the question is asked for one name after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_walked_through_a_leader_of_either_build() {
    let name = "a_path_is_walked_through_a_leader_of_either_build";
    if skip(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let cluster = Cluster::start(options("paths", 3, Build::Previous)).await;
    let mut cluster = cluster.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    change(&mut cluster, 1, Build::This).await;
    let url: MetaUrl = cluster.url("vol").parse().expect("our own URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    let session = session.expect("a session");
    let mut made = vec![Ino::ROOT];
    for level in 0..6 {
        let name = format!("d{level}");
        let dir = make(&session, made[level], &name, NewNode::Directory).await;
        made.push(dir.expect("made").ino);
    }
    made.push(Ino(1 << 50));
    let root = Caller::root();
    for leader in [1, 2, 1] {
        cluster.make_lead(leader, PATIENCE).await.expect("it leads");
        let before = session.status().answered;
        let asked = Resolve {
            from: Ino::ROOT,
            path: b"d0/d1/../d1/d2/d3/d4/d5/x/y".to_vec(),
            links: Links::All,
            open: None,
        };
        let found = session.resolve(&root, asked).await.expect("walked");
        let path = session.status().answered - before;
        let end = PathEnd::Refused {
            refusal: Refusal::NotFound,
            rest: b"x/y".to_vec(),
        };
        assert_eq!((found.end.clone(), found.last().ino), (end, made[6]));
        let each = session.get_attrs(&root, &made).await.expect("answered");
        let files = session.status().answered - before - path;
        for (ino, attr) in made.iter().zip(each) {
            let expected = if ino.0 == 1 << 50 {
                Err(Refusal::Stale)
            } else {
                Ok(*ino)
            };
            assert_eq!(attr.map(|attr| attr.ino), expected);
        }
        notice(&format!(
            "upgrade: node {leader} leads: {path} questions for a path, {files} for 8 files"
        ));
    }
    session.close().await;
}

/// A node is away until the leader's log does not reach back to it: what it then gets is a snapshot
/// of the leader's build.
async fn leave_behind(cluster: &mut Cluster, away: u64, leader: u64) {
    cluster.node(away).expect("a node").kill().expect("killed");
    cluster.make_lead(leader, PATIENCE).await.expect("it leads");
    cluster.purged(leader, PATIENCE).await.expect("purged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_the_previous_build_is_installed_by_this_one() {
    if skip("a_snapshot_of_the_previous_build_is_installed_by_this_one") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    let (mut cluster, crew) = begin("old-sends", Build::Previous, seed).await;
    leave_behind(&mut cluster, 1, 2).await;
    let away = cluster.node(1).expect("a node");
    away.set_build(Build::This);
    away.start().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    end(&mut cluster, &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_this_build_is_installed_by_the_previous_one() {
    if skip("a_snapshot_of_this_build_is_installed_by_the_previous_one") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    let (mut cluster, crew) = begin("new-sends", Build::Previous, seed).await;
    for id in [2, 3] {
        change(&mut cluster, id, Build::This).await;
    }
    leave_behind(&mut cluster, 1, 2).await;
    cluster.node(1).expect("a node").start().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    // It leads with what it was sent.
    cluster.make_lead(1, PATIENCE).await.expect("it leads");
    crew.progress(200, PATIENCE).await.expect("writes go on");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    end(&mut cluster, &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_of_either_build_follows_an_origin_of_the_other() {
    if skip("a_mirror_of_either_build_follows_an_origin_of_the_other") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    for origin in Build::ALL {
        let (here, there) = (
            options_of_both("upgrade-origin", 1, origin),
            options_of_both("upgrade-mirror", 1, origin.other()),
        );
        let mut pair = Pair::start_with(here, there).await.expect("a pair");
        let url = pair.origin_url();
        let crew = Crew::begin(&url, 1, 3, seed).await.expect("writers");
        crew.progress(300, PATIENCE).await.expect("writes");
        let mirroring = pair.mirroring().await.expect("both sides answer");
        mirroring.add("near").await.expect("added");
        pair.following(PATIENCE).await.expect("it follows");
        crew.progress(300, PATIENCE).await.expect("writes go on");
        let written = crew.stop(PATIENCE).await.expect("the writers end");
        pair.caught_up(PATIENCE).await.expect("caught up");
        let seq = pair.agreed(PATIENCE).await.expect("the sides agree");
        let verified = mirroring.verify().await.expect("verified");
        assert!(verified.agrees(), "{verified:?}");
        let checked = check(&url, &written).await.expect("readable");
        let checked = checked.expect("nothing wrong");
        notice(&format!("upgrade: origin {origin:?}: {seq}; {checked:?}"));
        for side in [&mut pair.origin, &mut pair.mirror] {
            side.check_stores(PATIENCE).await.expect("sound stores");
        }
    }
}

/// Runs `curlew` of a build, which must succeed, and gives what it said.
fn curlew(build: Build, arguments: &[&str]) -> String {
    let mut command = Command::new(build.program("curlew").expect("built"));
    let output = command.args(arguments).output().expect("curlew runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{build:?} {arguments:?}: {said}{errors}"
    );
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_either_build_work_with_a_cluster_of_the_other() {
    if skip("commands_of_either_build_work_with_a_cluster_of_the_other") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("upgrade").expect("a seed");
    for build in Build::ALL {
        let cluster = Cluster::start(options_of_both("commands", 1, build)).await;
        let cluster = cluster.expect("a cluster");
        cluster.format("vol").await.expect("a volume");
        let (url, client) = (cluster.url("vol"), build.other());
        let crew = Crew::begin(&url, 1, 2, seed).await.expect("writers");
        crew.progress(300, PATIENCE).await.expect("writes");
        let written = crew.stop(PATIENCE).await.expect("the writers end");
        let said = curlew(client, &["status", &url, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(json["volume"], "vol", "{json}");
        assert_eq!(json["nodes"][0]["state"], "leader", "{json}");
        let said = curlew(client, &["changelog", &url, "--json"]);
        assert!(said.lines().count() > 200, "a line for each change");
        // One build dumps, the other loads, and what is loaded reads the same.
        let file = cluster.dir().join("vol.dump");
        let file = file.to_str().expect("a name of ours");
        curlew(client, &["dump", &url, file]);
        let elsewhere = Cluster::start(options("loads", 1, client)).await;
        let elsewhere = elsewhere.expect("a cluster");
        let back = elsewhere.url("back");
        curlew(build, &["load", file, &back]);
        let checked = check(&back, &written).await.expect("readable");
        let checked = checked.expect("nothing wrong");
        notice(&format!("upgrade: cluster {build:?}: {checked:?}"));
    }
}

/// More than one block, and not a whole number of them.
fn content(seed: u8) -> Vec<u8> {
    let bytes = (0..9_000_001_u32).map(|at| (at % 251) as u8 ^ seed);
    bytes.collect()
}

fn write(dir: &Path, seed: u8) {
    fs::create_dir_all(dir.join("a/b")).expect("made");
    fs::write(dir.join("a/large"), content(seed)).expect("written");
    fs::write(dir.join("a/small"), [seed]).expect("written");
    fs::rename(dir.join("a/small"), dir.join("a/b/moved")).expect("renamed");
    fs::hard_link(dir.join("a/large"), dir.join("a/b/linked")).expect("linked");
    std::os::unix::fs::symlink("b/moved", dir.join("a/link")).expect("linked");
    fs::write(dir.join("a/gone"), "x").expect("written");
    fs::remove_file(dir.join("a/gone")).expect("removed");
    fs::write(dir.join("a/cut"), content(seed)).expect("written");
    let cut = fs::File::options().write(true).open(dir.join("a/cut"));
    cut.and_then(|file| file.set_len(5_000_000)).expect("cut");
}

fn compare(dir: &Path, seed: u8) {
    let read = |name: &str| fs::read(dir.join(name)).expect("readable");
    let whole = content(seed);
    assert!(read("a/large") == whole && read("a/b/linked") == whole);
    assert!(read("a/cut") == whole[..5_000_000]);
    assert_eq!(read("a/link"), [seed]);
    let mut names: Vec<_> = fs::read_dir(dir.join("a"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["b", "cut", "large", "link"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_of_both_builds_share_a_volume_of_a_cluster_of_either() {
    let test = "mounts_of_both_builds_share_a_volume_of_a_cluster_of_either";
    if skip_unless_fuse(test) || skip(test) {
        return;
    }
    let _alone = alone().expect("the turn");
    for build in Build::ALL {
        let cluster = Cluster::start(options("mounts", 1, build)).await;
        let cluster = cluster.expect("a cluster");
        cluster.format("vol").await.expect("a volume");
        let mount = |by: Build, name: &str| {
            let point = cluster.dir().join(name);
            let log = cluster.dir().join(format!("{name}.log"));
            Mount::start_from(by, &cluster.url("vol"), &point, &log).expect("mounted")
        };
        let this = mount(Build::This, "this");
        let previous = mount(Build::Previous, "previous");
        for (number, (writer, reader)) in (1..).zip([(&this, &previous), (&previous, &this)]) {
            let dir = format!("of-{number}");
            write(&writer.path().join(&dir), number);
            compare(&writer.path().join(&dir), number);
            compare(&reader.path().join(&dir), number);
        }
        this.unmount().expect("unmounted");
        previous.unmount().expect("unmounted");
    }
}
