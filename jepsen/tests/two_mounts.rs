//! Two real mounts of one volume, and what a mount refuses.

use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(30);

async fn one_node(name: &str) -> Cluster {
    let cluster = Cluster::start(ClusterOptions::new(name, 1))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    cluster
}

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mounts_see_each_others_files_from_close_to_open() {
    if skip_unless_fuse("two_mounts_see_each_others_files_from_close_to_open") {
        return;
    }
    let cluster = one_node("two").await;
    let (left, right) = (mount(&cluster, "left"), mount(&cluster, "right"));
    for round in 0..20_usize {
        let (writer, reader) = if round % 2 == 0 {
            (&left, &right)
        } else {
            (&right, &left)
        };
        let content = vec![u8::try_from(round).expect("small"); 1 + round * 7_919];
        // The same file is replaced in each round, so that a stale cache would show.
        fs::write(writer.path().join("shared"), &content).expect("written");
        let read = fs::read(reader.path().join("shared")).expect("readable");
        assert!(
            read == content,
            "round {round}: {} bytes, not {}",
            read.len(),
            content.len()
        );
        let name = format!("new{round}");
        assert!(!reader.path().join(&name).exists(), "not made yet");
        fs::write(writer.path().join(&name), &name).expect("written");
        let new = fs::read_to_string(reader.path().join(&name)).expect("seen at once");
        assert_eq!(new, name);
    }
    append_from_both_sides(left.path(), right.path());
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
}

fn append_from_both_sides(left: &Path, right: &Path) {
    for number in 0..20 {
        let dir = if number % 2 == 0 { left } else { right };
        let path = dir.join("log");
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .expect("opened to append");
        writeln!(file, "line {number}").expect("appended");
        file.sync_all().expect("synced");
    }
    let expected: String = (0..20).map(|number| format!("line {number}\n")).collect();
    assert_eq!(
        fs::read_to_string(left.join("log")).expect("readable"),
        expected
    );
    assert_eq!(
        fs::read_to_string(right.join("log")).expect("readable"),
        expected
    );
}

/// The file is open at both mounts all the time, and each has the other's pages before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_mount_stored_the_other_reads_through_what_it_has_open() {
    if skip_unless_fuse("what_one_mount_stored_the_other_reads_through_what_it_has_open") {
        return;
    }
    let cluster = one_node("open").await;
    let (left, right) = (mount(&cluster, "left"), mount(&cluster, "right"));
    fs::write(left.path().join("file"), vec![0; 20_000]).expect("written");
    let open = |mount: &Mount| {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.open(mount.path().join("file")).expect("opened")
    };
    let files = [open(&left), open(&right)];
    for round in 1..60_u8 {
        let side = usize::from(round % 2);
        let (writer, reader) = (&files[side], &files[1 - side]);
        // Of the same length each time, and with the time set back: only the bytes tell.
        writer
            .write_all_at(&[round; 10_000], 5_000)
            .expect("written");
        writer.sync_data().expect("synced");
        let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        writer.set_times(times).expect("times set");
        for file in [reader, writer] {
            let mut bytes = vec![0; 20_000];
            file.read_exact_at(&mut bytes, 0).expect("read");
            let (begin, rest) = bytes.split_at(5_000);
            let (middle, end) = rest.split_at(10_000);
            assert!(middle.iter().all(|byte| *byte == round), "round {round}");
            assert!(begin.iter().chain(end).all(|byte| *byte == 0));
        }
    }
    let length = 30_000;
    files[0].set_len(length).expect("longer");
    assert_eq!(files[1].metadata().expect("stat").len(), length);
    let mut bytes = vec![1; 10_000];
    files[1].read_exact_at(&mut bytes, 20_000).expect("read");
    assert!(bytes.iter().all(|byte| *byte == 0));
    drop(files);
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmount_flushes_what_was_closed_and_what_was_synced() {
    if skip_unless_fuse("unmount_flushes_what_was_closed_and_what_was_synced") {
        return;
    }
    let cluster = one_node("flush").await;
    let first = mount(&cluster, "first");
    let content: Vec<u8> = (0..9_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(first.path().join("closed"), &content).expect("written");
    let mut file = File::create_new(first.path().join("rewritten")).expect("created");
    file.write_all(&content).expect("written");
    file.seek(SeekFrom::Start(4_194_300)).expect("sought");
    file.write_all(b"over a block's border").expect("written");
    file.set_len(6_000_000).expect("cut");
    drop(file);
    first.unmount().expect("unmounted");

    let second = mount(&cluster, "second");
    assert!(fs::read(second.path().join("closed")).expect("readable") == content);
    let mut expected = content[..6_000_000].to_vec();
    expected[4_194_300..4_194_321].copy_from_slice(b"over a block's border");
    assert!(fs::read(second.path().join("rewritten")).expect("readable") == expected);
    let mut middle = [0; 100];
    let mut file = File::open(second.path().join("closed")).expect("opened");
    file.seek(SeekFrom::Start(8_388_550)).expect("sought");
    file.read_exact(&mut middle).expect("read");
    assert_eq!(middle, content[8_388_550..8_388_650]);
    drop(file);
    second.unmount().expect("unmounted");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_later_versions_bring_is_refused_and_not_faked() {
    if skip_unless_fuse("what_later_versions_bring_is_refused_and_not_faked") {
        return;
    }
    // Below level 3 there are no ACLs.
    let options = ClusterOptions {
        raise_levels: false,
        ..ClusterOptions::new("refuse", 1)
    };
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let mount = mount(&cluster, "mnt");
    let file = mount.path().join("file");
    fs::write(&file, "x").expect("written");
    // A minimal access ACL with one named user, as the kernel encodes it.
    let acl = "0x0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000400ffffffff";
    let output = Command::new("setfattr")
        .args(["-n", "system.posix_acl_access", "-v", acl])
        .arg(&file)
        .output()
        .expect("setfattr runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("not supported"),
        "{said}"
    );
    let output = Command::new("getfattr")
        .args(["-d", "-m", "-"])
        .arg(&file)
        .output()
        .expect("getfattr");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!listed.contains("posix_acl"), "{listed}");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&file)
        .expect("opened");
    file.lock().expect("a lock inside this machine works");
    drop(file);
    for hidden in [".stats", ".config", ".accesslog", ".status"] {
        assert!(mount.path().join(hidden).exists(), "{hidden} opens by name");
    }
    let names: Vec<_> = fs::read_dir(mount.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["file"], "virtual files are never listed");
    let said = fs::read_to_string(mount.path().join(".config")).expect("readable")
        + &fs::read_to_string(mount.path().join(".status")).expect("readable")
        + &fs::read_to_string(cluster.dir().join("mnt.log")).expect("readable");
    assert!(
        said.to_lowercase().contains("lock"),
        "the mount says what its locks reach: {said}"
    );
    mount.unmount().expect("unmounted");
}
