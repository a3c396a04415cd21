//! `curlew rmr` on real clusters: a whole tree goes although its leader dies on the way, and what may
//! not go stays.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::{skip, skip_unless_fuse};
use jepsen::mount::Mount;
use jepsen::process::{Process, log_tail};
use jepsen::scratch::notice;
use jepsen::wait;
use jepsen::writer::{make, names};
use meta_client::meta_core::attr::{Caller, FileKind};
use meta_client::meta_core::command::{NewNode, Operation, SetAttr};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::query::{Answer, QueryBody, VolumeStat};
use meta_client::{MetaSession, SessionOptions};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the tree: directories in each directory, levels of them, and files in each.
const DIRS: usize = 8;
const LEVELS: u32 = 3;
const FILES: usize = 34;

async fn open(cluster: &Cluster) -> MetaSession {
    let url = cluster.url("vol").parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    session.expect("a session")
}

/// Makes many files at once, each in its directory.
async fn make_all(session: &MetaSession, files: Vec<(Ino, String)>, node: NewNode) -> Vec<Ino> {
    let mut all = Vec::new();
    for some in files.chunks(200) {
        let mut tasks = JoinSet::new();
        for (parent, name) in some.iter().cloned() {
            let (session, node) = (session.clone(), node.clone());
            tasks.spawn(async move { make(&session, parent, &name, node).await });
        }
        for made in tasks.join_all().await {
            all.push(made.expect("made").ino);
        }
    }
    all
}

/// Makes the tree, and gives how many files and directories it has.
async fn make_tree(session: &MetaSession, text: &str) -> (usize, usize) {
    let in_each = |dirs: &[Ino], kind: &str, count: usize| -> Vec<(Ino, String)> {
        let names = |dir: &Ino| {
            let dir = *dir;
            let one = move |number| (dir, format!("{kind}{number}"));
            (0..count).map(one).collect::<Vec<_>>()
        };
        dirs.iter().flat_map(names).collect()
    };
    let top = make(session, Ino::ROOT, text, NewNode::Directory).await;
    let mut level = vec![top.expect("made").ino];
    let mut dirs = level.clone();
    for _ in 0..LEVELS {
        level = make_all(session, in_each(&level, "d", DIRS), NewNode::Directory).await;
        dirs.extend(&level);
    }
    let files = make_all(session, in_each(&dirs, "f", FILES), NewNode::Regular).await;
    (files.len(), dirs.len())
}

async fn stat(session: &MetaSession) -> VolumeStat {
    match session.query(Caller::root(), QueryBody::StatVolume).await {
        Ok(Answer::Stat(stat)) => stat,
        other => panic!("{other:?}"),
    }
}

/// Waits until so many files of every kind are left.
async fn wait_for_inodes(session: &MetaSession, expected: u64) {
    wait::until("files without names to be deleted", PATIENCE, async || {
        let now = stat(session).await;
        let is_done = now.inodes == expected && now.orphans == 0;
        Ok(is_done.then_some(()).ok_or_else(|| format!("{now:?}")))
    })
    .await
    .expect("deleted");
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_tree_goes_although_the_leader_is_killed_on_the_way() {
    let _alone = alone().expect("the turn");
    let cluster = Cluster::start(ClusterOptions::new("rmr", 3)).await;
    let mut cluster = cluster.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    let session = open(&cluster).await;
    make(&session, Ino::ROOT, "kept", NewNode::Regular)
        .await
        .expect("made");
    let (files, dirs) = make_tree(&session, "tree").await;
    assert!(files > 19_000, "{files}");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let before = stat(&session).await.token;

    let log = cluster.dir().join("rmr.log");
    let mut command = Command::new(binary("curlew").expect("built"));
    command.args(["rmr", &cluster.url("vol"), "--path", "/tree", "--json"]);
    // Few at once, so that there is a middle.
    command.args(["--threads", "4"]);
    let mut removal = Process::spawn("curlew rmr", &mut command, &log).expect("started");
    wait::until("a part to be removed", PATIENCE, async || {
        let now = stat(&session).await.token;
        Ok((now.seq.0 > before.seq.0 + 20)
            .then_some(())
            .ok_or_else(|| format!("{now:?}")))
    })
    .await
    .expect("removed");
    cluster
        .node(leader)
        .expect("a node")
        .kill()
        .expect("killed");
    let ended = removal.ended().expect("asked");
    assert!(ended.is_none(), "that was no middle: {ended:?}");

    let status = wait::until_blocking("the removal to end", PATIENCE, || {
        Ok(removal.ended()?.ok_or_else(|| log_tail(&log, 9)))
    });
    let said = fs::read_to_string(&log).expect("a log");
    assert!(status.expect("an end").success(), "{said}");
    let last = said.lines().last().expect("a line");
    let told: Value = serde_json::from_str(last).expect("JSON");
    // Each name is counted once: a command that is sent again has the answer of the first sending.
    let expected = json!({"files": files, "directories": dirs, "failed": 0, "errors": []});
    assert_eq!(told, expected, "{said}");
    let left = names(&session, Ino::ROOT).await.expect("a listing");
    let left: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["kept"]);
    assert!(
        !said.contains("one at a time"),
        "a dead member does not make it slow: {said}"
    );

    cluster
        .node(leader)
        .expect("a node")
        .start()
        .expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    wait_for_inodes(&session, 2).await;
    session.close().await;
    let agreement = cluster.digests_equal(PATIENCE).await;
    notice(&format!(
        "rmr: {files} files, {dirs} directories; {}",
        agreement.expect("equal digests")
    ));
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

async fn set(session: &MetaSession, ino: Ino, mode: u32, uid: u32) {
    let set = SetAttr {
        ino,
        mode: Some(mode),
        uid: Some(uid),
        ..SetAttr::default()
    };
    let set = session.execute(Caller::root(), Operation::SetAttr(set));
    set.await.expect("set");
}

/// Runs `curlew rmr` as somebody else, from a place that everybody may reach.
fn remove_as(uid: u32, program: &Path, url: &str, path: &str) -> Output {
    let mut command = Command::new(program);
    command.uid(uid).gid(uid);
    command.args(["rmr", url, "--path", path, "--json"]);
    command.output().expect("curlew runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_user_may_not_remove_stays_and_is_told() {
    if !rustix::process::geteuid().is_root() {
        skip("rmr's permissions", "it runs programs as other users");
        return;
    }
    let _alone = alone().expect("the turn");
    let cluster = Cluster::start(ClusterOptions::new("rmr-users", 1)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    let open_dir = fs::Permissions::from_mode(0o755);
    fs::set_permissions(cluster.dir(), open_dir.clone()).expect("opened");
    let program = cluster.dir().join("curlew");
    fs::copy(binary("curlew").expect("built"), &program).expect("copied");
    fs::set_permissions(&program, open_dir).expect("opened");
    let session = open(&cluster).await;
    let file = async |parent: Ino, name: &str, uid: u32| {
        let made = make(&session, parent, name, NewNode::Regular).await;
        set(&session, made.expect("made").ino, 0o644, uid).await;
    };
    let dir = async |parent: Ino, name: &str, mode: u32, uid: u32| {
        let made = make(&session, parent, name, NewNode::Directory).await;
        let ino = made.expect("made").ino;
        set(&session, ino, mode, uid).await;
        ino
    };
    let (me, other) = (1_234, 1_235);
    let top = dir(Ino::ROOT, "top", 0o755, me).await;
    file(top, "mine", me).await;
    let sticky = dir(top, "sticky", 0o1777, other).await;
    file(sticky, "mine", me).await;
    file(sticky, "theirs", other).await;
    let closed = dir(top, "closed", 0o755, other).await;
    file(closed, "mine", me).await;
    let hidden = dir(top, "hidden", 0o311, me).await;
    file(hidden, "mine", me).await;

    let output = remove_as(me, &program, &cluster.url("vol"), "/top");
    let told = report(&output);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}: {errors}");
    assert_eq!((&told["files"], &told["failed"]), (&json!(2), &json!(3)));
    for said in ["/top/sticky/theirs", "/top/closed/mine", "/top/hidden"] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
    assert!(errors.contains("sticky, and both belong to others"));
    assert!(errors.contains("cannot be listed: permission denied"));
    let mut left = names(&session, top).await.expect("a listing");
    left.sort();
    let left: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["closed", "hidden", "sticky"]);

    // What may not be looked up is not removed either.
    set(&session, top, 0o700, other).await;
    let refused = remove_as(me, &program, &cluster.url("vol"), "/top/sticky");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("permission denied"), "{errors}");
    let all = remove_as(0, &program, &cluster.url("vol"), "/top");
    assert_eq!(all.status.code(), Some(0), "{}", report(&all));
    wait_for_inodes(&session, 1).await;
    session.close().await;
}

fn rmr(arguments: &[&Path]) -> Output {
    let mut command = Command::new(binary("curlew").expect("built"));
    let output = command.arg("rmr").args(arguments).output();
    output.expect("curlew runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_on_a_mount_is_removed_and_forgotten_there() {
    let test = "a_path_on_a_mount_is_removed_and_forgotten_there";
    if skip_unless_fuse(test) {
        return;
    }
    let _alone = alone().expect("the turn");
    let cluster = Cluster::start(ClusterOptions::new("rmr-mount", 1)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    let mount = |name: &str, extra: &[&str]| {
        let (dir, url) = (cluster.dir(), cluster.url("vol"));
        let log = dir.join(format!("{name}.log"));
        Mount::start(&url, &dir.join(name), &log, extra).expect("mounted")
    };
    let mounted = mount("mnt", &[]);
    let at = |name: &str| mounted.path().join(name);
    fs::create_dir_all(at("tree/a/b")).expect("made");
    for path in ["tree/one", "tree/a/two", "tree/a/b/three", "kept"] {
        fs::write(at(path), "some bytes").expect("written");
    }
    symlink(at("kept"), at("tree/link")).expect("linked");
    symlink(at("tree"), at("to-tree")).expect("linked");
    fs::read(at("tree/a/b/three")).expect("the kernel knows it");

    let output = rmr(&[&at("tree"), &at("nothing"), &at("to-tree")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("nothing: no such file"), "{errors}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said,
        "removed 5 files and 3 directories, and 1 names could not be removed\n"
    );
    // At once, and not when the kernel looks again.
    for gone in ["tree", "to-tree"] {
        let seen = at(gone).symlink_metadata();
        assert!(seen.is_err(), "{gone} is still there: {seen:?}");
    }
    assert_eq!(fs::read(at("kept")).expect("kept"), b"some bytes");
    fs::create_dir(at("tree")).expect("the name is free");

    for (path, code, why) in [
        (mounted.path(), 2, "the root of a mount"),
        (cluster.dir(), 1, "not on a Curlew mount"),
    ] {
        let refused = rmr(&[&at("tree"), path]);
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{errors}");
        assert!(errors.contains(why), "{errors}");
        // Wrong usage is seen before anything is removed.
        assert_eq!(at("tree").symlink_metadata().is_ok(), code == 2);
    }
    let session = open(&cluster).await;
    let left = names(&session, Ino::ROOT).await.expect("a listing");
    assert_eq!(left.len(), 1, "{left:?}");
    let body = QueryBody::GetAttr { ino: left[0].1 };
    let Ok(Answer::Attr(kept)) = session.query(Caller::root(), body).await else {
        panic!("no attributes of what is kept");
    };
    assert_eq!(kept.kind, FileKind::Regular);
    session.close().await;
    let read_only = mount("ro", &["--read-only"]);
    let refused = rmr(&[&read_only.path().join("kept")]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("read-only"), "{errors}");
    read_only.unmount().expect("unmounted");
    mounted.unmount().expect("unmounted");
}
