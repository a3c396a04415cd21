//! A volume whose blocks lie in a bucket of an S3 server, which is killed while files are written.

use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::s3_server::{ACCESS_KEY, S3Server, SECRET_KEY};
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const FILES: usize = 60;
const KEYS: [(&str, &str); 2] = [("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY)];

fn format(url: &str, bucket: &str, keys: &[(&str, &str)]) -> Output {
    let mut command = Command::new(jepsen::binaries::binary("curlew").expect("built"));
    for name in ["ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"] {
        command.env_remove(name).env_remove(format!("AWS_{name}"));
    }
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    command.envs(keys.iter().copied());
    command.args(["format", url, "--storage", "s3", "--bucket", bucket]);
    command.output().expect("curlew runs")
}

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let point = cluster.dir().join(name);
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start_with(&cluster.url("vol"), &point, &log, &[], &KEYS).expect("mounted")
}

/// The contents, by the file's number.
fn contents(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut content = |number: usize| {
        // Some are of several blocks, and some end within a frame.
        let len = match number % 6 {
            0 => rng.random_range(4_000_000..10_000_000),
            _ => rng.random_range(1..300_000),
        };
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..FILES).map(&mut content).collect()
}

/// Copies all files of a directory, each stored before the next, in a process of its own: while
/// this one had a file of the mount open, a server that it starts would first have to close its
/// copy of it, which waits for the server.
fn copy_all(from: &Path, to: &Path) -> Child {
    let each = r#"for file in "$0"/*; do
        cp "$file" "$1"/ && sync "$1/${file##*/}" || exit 1
    done"#;
    let mut command = Command::new("sh");
    command.arg("-ec").arg(each).arg(from).arg(to);
    command.spawn().expect("a shell")
}

/// All files below `dir`, following no links.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("readable") {
            let entry = entry.expect("an entry");
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_a_bucket_survive_kills_of_its_server() {
    if skip_unless_fuse("files_in_a_bucket_survive_kills_of_its_server") {
        return;
    }
    let seed = seed("s3_mount").expect("a seed");
    let cluster = Cluster::start(ClusterOptions::new("s3", 1)).await;
    let cluster = cluster.expect("a cluster");
    let (root, log) = (cluster.dir().join("s3"), cluster.dir().join("s3.log"));
    fs::create_dir(&root).expect("a directory");
    let mut server = S3Server::start(&root, &log).expect("a server");
    let bucket = format!("{}/some/prefix", server.bucket_url());
    let formatted = format(&cluster.url("vol"), &bucket, &KEYS);
    assert!(formatted.status.success(), "{formatted:?}");

    let contents = contents(seed);
    let first = mount(&cluster, "first");
    let source = cluster.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    for (number, content) in contents.iter().enumerate() {
        fs::write(source.join(format!("file{number}")), content).expect("written");
    }
    let mut copying = copy_all(&source, first.path());
    for goal in [10, 25, 40] {
        wait::until_blocking("files to be stored", PATIENCE, || {
            let there = fs::read_dir(first.path())?.count();
            Ok((there > goal).then_some(()).ok_or(there.to_string()))
        })
        .expect("progress");
        server.kill().expect("killed");
        // The fault's length, not a wait for anything.
        std::thread::sleep(Duration::from_millis(400));
        server.restart().expect("it is back");
    }
    let copied = copying.wait().expect("its end");
    assert!(copied.success(), "every file was stored: {copied}");
    first.unmount().expect("nothing was lost");

    let second = mount(&cluster, "second");
    for (number, content) in contents.iter().enumerate() {
        let read = fs::read(second.path().join(format!("file{number}"))).expect("readable");
        assert!(read == *content, "file{number}: {} bytes", read.len());
    }
    second.unmount().expect("unmounted");
    let objects = files(&server.objects().join("some/prefix"));
    notice(&format!("s3: {FILES} files in {} objects", objects.len()));
    assert!(objects.len() >= FILES, "each file has its own blocks");
    cluster.digests_equal(PATIENCE).await.expect("sound");
    // Another bucket at the same address is not taken for the volume's.
    fs::rename(server.objects(), root.join("aside")).expect("renamed");
    fs::create_dir(server.objects()).expect("an empty bucket");
    let (point, log) = (cluster.dir().join("third"), cluster.dir().join("third.log"));
    let third = Mount::start_with(&cluster.url("vol"), &point, &log, &[], &KEYS);
    let refused = format!("{:#}", third.expect_err("not mounted"));
    assert!(
        refused.contains("not where this volume was made"),
        "{refused}"
    );
    // Neither the nodes' stores nor any log has a key of the bucket.
    for path in files(cluster.dir()) {
        let bytes = fs::read(&path).expect("readable");
        let secret = bytes
            .windows(SECRET_KEY.len())
            .any(|window| window == SECRET_KEY.as_bytes());
        assert!(!secret, "{} holds the secret key", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_cannot_be_used_is_refused_by_format() {
    let cluster = Cluster::start(ClusterOptions::new("s3-refused", 1)).await;
    let cluster = cluster.expect("a cluster");
    let (root, log) = (cluster.dir().join("s3"), cluster.dir().join("s3.log"));
    fs::create_dir(&root).expect("a directory");
    let server = S3Server::start(&root, &log).expect("a server");
    let url = cluster.url("vol");
    let said = |output: Output| {
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };

    let without = said(format(&url, &server.bucket_url(), &[]));
    assert!(without.contains("ACCESS_KEY"), "{without}");
    let wrong = [("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", "not-the-secret")];
    let refused = said(format(&url, &server.bucket_url(), &wrong));
    assert!(!refused.contains("not-the-secret"), "{refused}");
    assert!(refused.contains("put"), "the step is named: {refused}");
    // Nothing was made by any of them: the name is free.
    let formatted = format(&url, &server.bucket_url(), &KEYS);
    assert!(formatted.status.success(), "{formatted:?}");
}
