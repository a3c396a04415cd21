//! How a volume is mounted: the words after `-o`, mount(8) and /etc/fstab, a directory as the root, and
//! what a mount says that cannot be.

use anyhow::{Context as _, Result, ensure};
use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::wait;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

async fn one_node(name: &str) -> Cluster {
    let cluster = Cluster::start(ClusterOptions::new(name, 1))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    cluster
}

fn mount(cluster: &Cluster, name: &str, extra: &[&str]) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, extra).expect("mounted")
}

/// How the kernel has a mount: its flags, its type and its source.
fn in_table(point: &Path) -> Result<(Vec<String>, String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let named = format!(" {} ", point.display());
    let line = table.lines().rfind(|line| line.contains(&named));
    let (front, back) = line
        .and_then(|line| line.split_once(" - "))
        .context("it is mounted")?;
    let flags = front.split(' ').nth(5).context("flags")?;
    let mut back = back.split(' ').map(ToOwned::to_owned);
    Ok((
        flags.split(',').map(ToOwned::to_owned).collect(),
        back.next().context("a type")?,
        back.next().context("a source")?,
    ))
}

fn run(program: &mut Command) -> Output {
    program.output().expect("it runs")
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_is_what_its_options_say() {
    if skip_unless_fuse("a_mount_is_what_its_options_say") {
        return;
    }
    let cluster = one_node("options").await;
    let plain = mount(&cluster, "plain", &[]);
    let (flags, kind, source) = in_table(plain.path()).expect("in the table");
    for flag in ["rw", "nosuid", "nodev", "noatime"] {
        assert!(flags.iter().any(|has| has == flag), "{flag}: {flags:?}");
    }
    assert_eq!(
        (kind.as_str(), source.as_str()),
        ("fuse.curlew", "curlew:vol")
    );
    let program = plain.path().join("program");
    fs::copy("/bin/true", &program).expect("a copy");
    assert!(run(&mut Command::new(&program)).status.success());

    let point = cluster.dir().join("other");
    fs::create_dir(&point).expect("a directory");
    fs::write(point.join("hidden"), "x").expect("a file");
    let words = "ro,noexec,suid,dev,nonempty,fsname=the data,_netdev,x-gvfs-hide";
    let other = mount(&cluster, "other", &["-o", words]);
    let (flags, _, source) = in_table(&point).expect("in the table");
    assert_eq!(source, "the\\040data");
    for flag in ["ro", "noexec"] {
        assert!(flags.iter().any(|has| has == flag), "{flag}: {flags:?}");
    }
    for flag in ["nosuid", "nodev"] {
        assert!(flags.iter().all(|has| has != flag), "{flag}: {flags:?}");
    }
    let refused = Command::new(point.join("program")).output();
    assert!(refused.is_err(), "nothing is executed there");
    assert!(
        fs::write(point.join("new"), "x").is_err(),
        "it is read-only"
    );
    other.unmount().expect("unmounted");
    assert!(point.join("hidden").exists());
    plain.unmount().expect("unmounted");
}

/// When a file was read last, as a mount shows it.
fn atime(path: &Path) -> (i64, i64) {
    let found = fs::metadata(path).expect("stat");
    (found.atime(), found.atime_nsec())
}

/// Reads a file by its mount, past the kernel's cache. Gives when it was read last, as is shown then.
fn read_direct(path: &Path) -> (i64, i64) {
    let mut open = fs::OpenOptions::new();
    let opened = open.read(true).custom_flags(libc::O_DIRECT).open(path);
    let mut read = String::new();
    let mut file = opened.expect("a file");
    file.read_to_string(&mut read).expect("a read");
    assert_eq!(read, "data");
    atime(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_move_access_times_as_the_options_say() {
    if skip_unless_fuse("reads_move_access_times_as_the_options_say") {
        return;
    }
    let cluster = one_node("atime").await;
    let raised = cluster.raised("vol", Duration::from_secs(30));
    raised.await.expect("a level that keeps them");
    let never = mount(&cluster, "never", &["-o", "relatime,noatime"]);
    let rarely = mount(&cluster, "rarely", &["-o", "noatime,relatime"]);
    let flag = ["--atime-mode", "strictatime", "-o", "noatime"];
    let always = mount(&cluster, "always", &flag);
    let (flags, ..) = in_table(never.path()).expect("in the table");
    assert!(flags.iter().any(|has| has == "noatime"), "{flags:?}");
    // The table has one word for all mounts that keep access times.
    for kept in [&rarely, &always] {
        let (flags, ..) = in_table(kept.path()).expect("in the table");
        assert!(flags.iter().any(|has| has == "relatime"), "{flags:?}");
    }
    let file = |mount: &Mount| mount.path().join("file");
    fs::write(file(&never), "data").expect("a write");
    let before = atime(&file(&never));
    assert_eq!(read_direct(&file(&never)), before);

    let moved = read_direct(&file(&rarely));
    assert!(moved > before, "{moved:?} after {before:?}");
    assert_eq!(read_direct(&file(&rarely)), moved);
    for other in [&never, &always] {
        let path = file(other);
        let seen = wait::until("a mount to see it", Duration::from_secs(30), async || {
            let seen = atime(&path);
            let has_moved = (seen == moved).then_some(());
            Ok(has_moved.ok_or_else(|| format!("it is {seen:?}")))
        });
        seen.await.expect("within a moment");
    }
    let first = read_direct(&file(&always));
    assert!(first > moved, "{first:?} after {moved:?}");
    let second = read_direct(&file(&always));
    assert!(second > first, "{second:?} after {first:?}");
    // Whoever unmounts has told what was read.
    always.unmount().expect("unmounted");
    assert_eq!(atime(&file(&never)), second);
    rarely.unmount().expect("unmounted");
    never.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_find_the_volume_behind_a_mounted_directory() {
    if skip_unless_fuse("commands_find_the_volume_behind_a_mounted_directory") {
        return;
    }
    let cluster = one_node("subdir").await;
    let whole = mount(&cluster, "whole", &[]);
    fs::create_dir_all(whole.path().join("a/b/c/d")).expect("directories");
    fs::write(whole.path().join("a/b/file"), "data").expect("a file");
    let part = mount(&cluster, "part", &["-o", "subdir=/a/b"]);
    let curlew = |words: &[&str], path: &Path| {
        let mut command = Command::new(binary("curlew").expect("a program"));
        run(command.args(words).arg(path))
    };
    for (name, path) in [("", "/a/b"), ("file", "/a/b/file"), ("c/d", "/a/b/c/d")] {
        let told = curlew(&["info", "--json"], &part.path().join(name));
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        assert_eq!(told["path"], path, "{told}");
    }
    let removed = curlew(&["rmr"], &part.path().join("c"));
    assert!(removed.status.success(), "{}", said(&removed));
    assert!(!whole.path().join("a/b/c").exists() && whole.path().join("a/b/file").exists());
    let root = curlew(&["rmr"], part.path());
    assert_eq!(root.status.code(), Some(2), "{}", said(&root));

    let point = cluster.dir().join("none");
    fs::create_dir(&point).expect("a directory");
    let mut command = Command::new(binary("curlew").expect("a program"));
    command.args(["mount", "--subdir", "/a/none"]);
    let refused = run(command.arg(cluster.url("vol")).arg(&point));
    assert_eq!(refused.status.code(), Some(1));
    let text = said(&refused);
    assert!(
        text.contains("/a/none of the volume: it does not exist"),
        "{text}"
    );
    part.unmount().expect("unmounted");
    whole.unmount().expect("unmounted");
}

/// What is done in a mount namespace of its own, in which `mount.curlew` is where mount(8) looks for
/// it. Whatever goes wrong, nothing is left mounted.
const WITH_MOUNT: &str = r#"
set -e
trap 'if grep -q " $point " /proc/self/mountinfo; then umount -l "$point"; fi' EXIT
mount --bind "$sbin" /sbin

mount -t curlew "$url" "$point" -o noexec,_netdev,backup-meta=0,log="$log"
echo from-mount > "$point/one"
grep " $point " /proc/self/mountinfo
umount "$point"

echo "$url $point curlew defaults,nofail,ro,subdir=/,log=$log 0 0" > "$fstab"
mount -T "$fstab" "$point"
cat "$point/one"
mount -T "$fstab" -a
test "$(grep -c " $point " /proc/self/mountinfo)" = 1
umount "$point"

status=0; mount -t curlew "${url}x" "$point" -o log="$log" || status=$?
echo "no volume: $status"
status=0; mount -t curlew "$url" "$point" -o nonsense || status=$?
echo "no option: $status"
mount -s -t curlew "$url" "$point" -o nonsense,log="$log"
umount "$point"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mount_and_fstab_mount_a_volume() {
    if skip_unless_fuse("mount_and_fstab_mount_a_volume") {
        return;
    }
    let cluster = one_node("fstab").await;
    let dir = cluster.dir();
    let (point, sbin) = (dir.join("mnt"), dir.join("sbin"));
    for made in [&point, &sbin] {
        fs::create_dir(made).expect("a directory");
    }
    let program = binary("curlew").expect("a program");
    std::os::unix::fs::symlink(program, sbin.join("mount.curlew")).expect("a link");
    let mut script = Command::new("unshare");
    script.args(["--mount", "sh", "-c", WITH_MOUNT]);
    script.env("url", cluster.url("vol"));
    for (name, path) in [("point", &point), ("sbin", &sbin)] {
        script.env(name, path);
    }
    script.env("log", dir.join("mount.log"));
    script.env("fstab", dir.join("fstab"));
    let output = run(&mut script);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("noexec") && text.contains("fuse.curlew"),
        "{text}"
    );
    assert!(
        text.contains(&cluster.url("vol")),
        "the table names its source: {text}"
    );
    assert!(text.contains("from-mount"), "{text}");
    assert!(text.contains("no volume: 32"), "{text}");
    assert!(text.contains("no option: 1"), "{text}");
    assert!(
        text.contains("-o nonsense: there is no such mount option"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_helper_of_mount_returns_when_it_is_mounted_and_looks_without_mounting() {
    let test = "the_helper_of_mount_returns_when_it_is_mounted_and_looks_without_mounting";
    if skip_unless_fuse(test) {
        return;
    }
    let cluster = one_node("helper").await;
    let (point, helper) = (
        cluster.dir().join("mnt"),
        cluster.dir().join("mount.curlew"),
    );
    fs::create_dir(&point).expect("a directory");
    // A copy, as a package may install it, and not a link.
    fs::copy(binary("curlew").expect("a program"), &helper).expect("a copy");
    let call = |words: &[&str]| {
        let mut command = Command::new(&helper);
        let log = format!("rw,log={}", cluster.dir().join("mount.log").display());
        run(command
            .arg(cluster.url("vol"))
            .arg(&point)
            .args(words)
            .args(["-o", &log]))
    };
    let fake = call(&["-f", "-v"]);
    assert!(fake.status.success(), "{}", said(&fake));
    assert!(!jepsen::mount::is_mounted(&point).expect("told"));
    let mounted = call(&["-n", "-v"]);
    assert!(mounted.status.success(), "{}", said(&mounted));
    fs::write(point.join("file"), "data").expect("it answers at once");
    let again = call(&[]);
    assert_eq!(again.status.code(), Some(32), "{}", said(&again));
    assert!(said(&again).contains("already a mount"), "{}", said(&again));
    let umounted = jepsen::mount::umount(&point).expect("it runs");
    assert!(umounted.status.success(), "{}", said(&umounted));
}

/// Runs `curlew mount` where `hide` has hidden something; the cluster is never asked.
fn mount_without(hide: &str, point: &Path, path: &str) -> Result<String> {
    let program = binary("curlew")?;
    let script = format!("set -e; {hide}\nexec \"$0\" mount curlew://127.0.0.1:1/v \"$1\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    command.arg(program).arg(point).env("FUSERMOUNT_PATH", path);
    let output = command.output().context("unshare")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(said(&output))
}

#[test]
fn without_the_device_or_its_helper_a_mount_says_what_is_missing() {
    let test = "without_the_device_or_its_helper_a_mount_says_what_is_missing";
    if skip_unless_fuse(test) {
        return;
    }
    let point = tempfile::tempdir().expect("a directory");
    let hide = "mount -t tmpfs none /dev";
    let text = mount_without(hide, point.path(), "").expect("refused");
    assert!(
        text.contains("cannot open /dev/fuse: No such file"),
        "{text}"
    );
    assert!(text.contains("modprobe fuse"), "{text}");
    let hide = "mount --bind /dev/null /dev/fuse; mount -o remount,bind,nodev /dev/fuse";
    let text = mount_without(hide, point.path(), "").expect("refused");
    assert!(
        text.contains("cannot open /dev/fuse: Permission denied"),
        "{text}"
    );
    // Root that may not mount is like anybody else.
    let drop = "exec setpriv --bounding-set=-sys_admin \"$0\" mount curlew://127.0.0.1:1/v \"$1\"";
    let none: PathBuf = point.path().join("no-such-helper");
    let none = none.to_string_lossy();
    let text = mount_without(drop, point.path(), &none).expect("refused");
    assert!(text.contains("there is no fusermount3"), "{text}");
}
