//! What mounts cache under leases: nothing old, and nothing that has to be asked for again.

use anyhow::{Context as _, Result, ensure};
use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use jepsen::wait;
use rustix::fs::{XattrFlags, lgetxattr, removexattr, setxattr, statvfs};
use rustix::io::Errno;
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster and two mounts of its volume.
async fn two_mounts(name: &str) -> (Cluster, Mount, Mount) {
    let cluster = Cluster::start(ClusterOptions::new(name, 3))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let (url, dir) = (cluster.url("vol"), cluster.dir().to_owned());
    let mount = |name: &str| {
        let log = dir.join(format!("{name}.log"));
        Mount::start(&url, &dir.join(name), &log, &[]).expect("mounted")
    };
    let (one, two) = (mount("one"), mount("two"));
    (cluster, one, two)
}

/// A counter of a mount's `.stats`.
fn counter(mount: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(mount.join(".stats"))?;
    let line = format!("curlew_{name} ");
    let found = text.lines().find_map(|text| text.strip_prefix(&line));
    Ok(found.with_context(|| format!("no {name}"))?.parse()?)
}

/// The value of an extended attribute, if it is there.
fn xattr(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 64];
    match lgetxattr(path, name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{name} of {}", path.display())),
    }
}

/// Each change at the one mount is there at the other as soon as it is answered.
fn changes_are_seen(one: &Path, two: &Path, rounds: u32) -> Result<()> {
    for round in 0..rounds {
        let name = format!("f{}", round % 5);
        let (here, there) = (one.join(&name), two.join(&name));
        ensure!(!there.exists(), "{name} is not there yet");
        File::create_new(&here)?;
        ensure!(there.exists(), "{name} was made");
        let mode = 0o600 + round % 8;
        fs::set_permissions(&here, fs::Permissions::from_mode(mode))?;
        ensure!(there.metadata()?.mode() & 0o777 == mode, "its mode is set");
        fs::write(&there, vec![7; round as usize % 100])?;
        ensure!(here.metadata()?.len() == u64::from(round) % 100, "written");
        let (kept, value) = ("user.round", round.to_string());
        ensure!(xattr(&there, kept)?.is_none(), "{kept} is not there yet");
        setxattr(&here, kept, value.as_bytes(), XattrFlags::empty())?;
        ensure!(
            xattr(&there, kept)? == Some(value.into_bytes()),
            "{kept} was set"
        );
        removexattr(&there, kept)?;
        ensure!(xattr(&here, kept)?.is_none(), "{kept} was removed");
        let moved = two.join("moved");
        fs::rename(&there, &moved)?;
        ensure!(!here.exists(), "{name} was moved");
        ensure!(one.join("moved").exists(), "it is where it was moved to");
        fs::remove_file(one.join("moved"))?;
        ensure!(!moved.exists(), "it was removed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_mount_changes_the_other_never_shows_as_it_was() {
    if skip_unless_fuse("what_one_mount_changes_the_other_never_shows_as_it_was") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (mut cluster, one, two) = two_mounts("leases").await;
    changes_are_seen(one.path(), two.path(), 60).expect("seen at once");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    changes_are_seen(one.path(), two.path(), 60).expect("seen at once under another leader");
    let recalls = counter(two.path(), "lease_recalls_total").expect("a counter");
    notice(&format!("leases: {recalls} recalls at one of the mounts"));
    assert!(recalls > 0);
    one.unmount().expect("unmounted");
    two.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_in_a_directory_is_seen_at_once_where_it_is_a_root() {
    if skip_unless_fuse("what_changes_in_a_directory_is_seen_at_once_where_it_is_a_root") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (cluster, whole, other) = two_mounts("rooted").await;
    let dir = whole.path().join("a/b");
    fs::create_dir_all(&dir).expect("directories");
    let (point, log) = (cluster.dir().join("part"), cluster.dir().join("part.log"));
    let url = cluster.url("vol");
    let part = Mount::start(&url, &point, &log, &["--subdir", "/a/b"]).expect("mounted");
    changes_are_seen(&dir, part.path(), 30).expect("seen in the root");
    changes_are_seen(part.path(), &dir, 30).expect("seen in the directory");
    for round in 0..20 {
        // The root itself: its mode, and what is moved into it and out of it.
        let mode = 0o700 + round % 8;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("chmod");
        let seen = part.path().metadata().expect("metadata").mode();
        assert_eq!(seen & 0o777, mode);
        let (outside, inside) = (other.path().join("moving"), part.path().join("moving"));
        fs::write(&outside, "x").expect("written");
        assert!(!inside.exists(), "it is elsewhere yet");
        fs::rename(&outside, other.path().join("a/b/moving")).expect("moved in");
        assert!(inside.exists(), "it was moved in");
        fs::rename(other.path().join("a/b/moving"), &outside).expect("moved out");
        assert!(!inside.exists(), "it was moved out");
        fs::remove_file(&outside).expect("removed");
    }
    for mount in [part, other, whole] {
        mount.unmount().expect("unmounted");
    }
}

/// Looks at every file of a tree, as `ls -lR` does.
fn walk(dir: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        files += 1;
        let kind = path.symlink_metadata()?.file_type();
        ensure!(xattr(&path, "security.selinux")?.is_none());
        if kind.is_dir() {
            files += walk(&path)?;
        } else if kind.is_symlink() {
            fs::read_link(&path)?;
        }
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_was_walked_once_is_walked_again_without_a_question() {
    if skip_unless_fuse("a_tree_that_was_walked_once_is_walked_again_without_a_question") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (_cluster, one, two) = two_mounts("warm").await;
    for dir in 0..20 {
        let dir = one.path().join(format!("d{dir}"));
        fs::create_dir(&dir).expect("a directory");
        for file in 0..50 {
            File::create_new(dir.join(format!("f{file}"))).expect("a file");
        }
        symlink("f7", dir.join("link")).expect("a symlink");
    }
    let asked = || counter(two.path(), "meta_queries_total").expect("a counter");
    let before = asked();
    assert_eq!(walk(two.path()).expect("walked"), 20 * 52);
    let cold = asked() - before;
    for _ in 0..3 {
        assert_eq!(walk(two.path()).expect("walked"), 20 * 52);
    }
    let warm = asked() - before - cold;
    notice(&format!(
        "leases: {cold} questions for a walk of 1,040 files, {warm} for 3 more"
    ));
    assert_eq!(warm, 0);
    one.unmount().expect("unmounted");
    two.unmount().expect("unmounted");
}

/// Files that a mount says there are.
fn inodes(dir: &Path) -> Result<u64> {
    let totals = statvfs(dir)?;
    Ok(totals.f_files - totals.f_ffree)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_full_it_is_costs_no_question_and_shows_what_all_mounts_did() {
    if skip_unless_fuse("how_full_it_is_costs_no_question_and_shows_what_all_mounts_did") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (_cluster, one, two) = two_mounts("full").await;
    let asked = || counter(two.path(), "meta_queries_total").expect("a counter");
    let empty = inodes(two.path()).expect("totals");
    for file in 1..=10 {
        File::create_new(two.path().join(format!("own{file}"))).expect("a file");
        assert_eq!(inodes(two.path()).expect("totals"), empty + file);
    }
    for file in 0..5 {
        File::create_new(one.path().join(format!("other{file}"))).expect("a file");
    }
    wait::until("the other mount's files", PATIENCE, async || {
        let seen = inodes(two.path())?;
        let all = seen == empty + 15;
        Ok(all.then_some(()).ok_or_else(|| format!("{seen} files")))
    })
    .await
    .expect("seen");
    wait::until("an answer from memory", PATIENCE, async || {
        // What the mount asks for the kernel's sake is known then, too.
        two.path().metadata()?;
        let before = asked();
        inodes(two.path())?;
        Ok((asked() == before).then_some(()).ok_or(String::new()))
    })
    .await
    .expect("no question");
    one.unmount().expect("unmounted");
    two.unmount().expect("unmounted");
}

/// The kernel asks for one component after the other; what is found is leased with all that an opening
/// must know, so that the opening itself is no question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_looked_up_and_opened_costs_a_question_for_each_name() {
    let test = "a_file_that_is_looked_up_and_opened_costs_a_question_for_each_name";
    if skip_unless_fuse(test) {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (_cluster, one, two) = two_mounts("opens").await;
    let asked = || counter(two.path(), "meta_queries_total").expect("a counter");
    let deep = "a/b/c/d/e/f/g";
    fs::create_dir_all(one.path().join(deep)).expect("directories");
    for file in 0..10 {
        File::create_new(one.path().join(format!("{deep}/f{file}"))).expect("a file");
    }
    // What was changed a moment ago is not leased yet.
    let known = wait::until("a path that is leased", PATIENCE, async || {
        let before = asked();
        fs::symlink_metadata(two.path().join(deep))?;
        let questions = asked() - before;
        Ok((questions == 0)
            .then_some(())
            .ok_or(format!("{questions} questions")))
    });
    known.await.expect("leased");
    let mut costs = Vec::new();
    for file in 0..10 {
        let path = two.path().join(format!("{deep}/f{file}"));
        let before = asked();
        File::options()
            .read(true)
            .write(true)
            .open(&path)
            .expect("opened");
        costs.push(asked() - before);
        let before = asked();
        File::open(&path).expect("opened again");
        assert_eq!(asked(), before, "f{file} is known");
    }
    notice(&format!(
        "leases: questions for 10 first openings: {costs:?}"
    ));
    assert!(costs.iter().all(|cost| *cost <= 1), "{costs:?}");
    one.unmount().expect("unmounted");
    two.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_stands_still_delays_a_change_and_then_shows_it() {
    if skip_unless_fuse("a_mount_that_stands_still_delays_a_change_and_then_shows_it") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let (_cluster, one, mut two) = two_mounts("still").await;
    let (here, there) = (one.path().join("f"), two.path().join("f"));
    File::create_new(&here).expect("a file");
    assert!(there.exists());
    let mode = |path: &Path| path.metadata().expect("attributes").mode() & 0o777;
    let was = mode(&there);
    two.process().signal(Signal::STOP).expect("stopped");
    let begun = Instant::now();
    fs::set_permissions(&here, fs::Permissions::from_mode(0o604)).expect("changed without it");
    notice(&format!(
        "leases: a silent mount was waited for {:?}",
        begun.elapsed()
    ));
    two.process().signal(Signal::CONT).expect("resumed");
    assert_ne!(was, 0o604);
    assert_eq!(mode(&there), 0o604);
    one.unmount().expect("unmounted");
    two.unmount().expect("unmounted");
}
