//! Wrong input: each is refused with the right exit status, and the message names the thing.

use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::port::free_addr;
use jepsen::process::Process;
use jepsen::scratch::Scratch;
use rustix::fs::{Timespec, Timestamps, futimens};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing here may take longer: a person is waiting for the message.
const PATIENCE: Duration = Duration::from_secs(40);

struct Ended {
    code: Option<i32>,
    said: String,
    took: Duration,
}

/// Runs a program to its end, or fails the test when it goes on for too long.
async fn run(program: &str, arguments: &[&str], dir: &Path) -> Ended {
    let log = dir.join(format!("{}.log", rand::random::<u32>()));
    let mut command = Command::new(binary(program).expect("built"));
    let begin = Instant::now();
    let mut process = Process::spawn(program, command.args(arguments), &log).expect("started");
    let status = process.wait(PATIENCE).await;
    let status = status.unwrap_or_else(|e| panic!("{program} {arguments:?}: {e:#}"));
    let said = fs::read_to_string(&log).expect("its words");
    Ended {
        code: status.code(),
        said,
        took: begin.elapsed(),
    }
}

async fn refused(program: &str, arguments: &[&str], code: i32, named: &[&str], dir: &Path) {
    let Ended {
        code: got,
        said,
        took,
    } = run(program, arguments, dir).await;
    assert_eq!(got, Some(code), "{program} {arguments:?} said:\n{said}");
    for word in named {
        assert!(
            said.contains(word),
            "{program} {arguments:?} does not name {word:?}:\n{said}"
        );
    }
    assert!(
        !said.contains("panicked"),
        "{program} {arguments:?} panicked:\n{said}"
    );
    assert!(took < PATIENCE, "{program} {arguments:?} took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_meta_url_is_wrong_usage_and_is_quoted() {
    let scratch = Scratch::new("bad-url").expect("a directory");
    let point = scratch.path().join("mnt");
    fs::create_dir(&point).expect("made");
    let point = point.to_str().expect("UTF-8");
    for url in [
        "redis://h:1/v",
        "curlew://",
        "curlew://h/v",
        "curlew://h:99999/v",
        "curlew://h:1",
    ] {
        refused("curlew", &["mount", url, point], 2, &[url], scratch.path()).await;
    }
    for arguments in [
        &["status", "curlew://h:1/"][..],
        &["format", "curlew://:1/v", "--bucket", "b"],
        &["format", "curlew://h:1/UPPER", "--bucket", "b"],
        &[
            "format",
            "curlew://h:1/v",
            "--bucket",
            "b",
            "--block-size",
            "3",
        ],
        &[
            "format",
            "curlew://h:1/v",
            "--bucket",
            "b",
            "--storage",
            "tape",
        ],
        &["nonsense"],
        &[],
    ] {
        refused("curlew", arguments, 2, &[], scratch.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_volume_a_dead_cluster_and_a_busy_mount_point_are_named() {
    let test = "an_unknown_volume_a_dead_cluster_and_a_busy_mount_point_are_named";
    if skip_unless_fuse(test) {
        return;
    }
    let cluster = Cluster::start(ClusterOptions::new("bad", 1))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let dir = cluster.dir();
    let point = dir.join("mnt");
    fs::create_dir(&point).expect("made");
    let at = point.to_str().expect("UTF-8");

    let unknown = cluster.url("nosuch");
    refused("curlew", &["mount", &unknown, at], 1, &["nosuch"], dir).await;
    refused("curlew", &["status", &unknown], 1, &["nosuch"], dir).await;
    let bucket = dir.join("objects2");
    let bucket = bucket.to_str().expect("UTF-8");
    let twice = cluster.url("vol");
    let format = ["format", &twice, "--storage", "file", "--bucket", bucket];
    refused("curlew", &format, 1, &["vol"], dir).await;

    let nobody = free_addr().expect("a port");
    let dead = format!("curlew://{nobody}/vol");
    refused("curlew", &["mount", &dead, at], 1, &[&nobody], dir).await;
    refused("curlew", &["status", &dead], 1, &[&nobody], dir).await;

    let missing = dir.join("missing");
    let missing = missing.to_str().expect("UTF-8");
    refused("curlew", &["mount", &twice, missing], 1, &[missing], dir).await;
    refused("curlew", &["umount", at], 1, &[at], dir).await;

    let mount = Mount::start(&twice, &point, &dir.join("mount.log"), &[]).expect("mounted");
    refused("curlew", &["mount", &twice, at], 1, &[at], dir).await;
    assert!(point.join(".status").exists(), "the first mount goes on");
    mount.unmount().expect("unmounted");
}

/// It is as far from 1970 as a time can be: the library that reads the kernel's requests negates it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_earliest_time_is_set_and_the_mount_goes_on() {
    if skip_unless_fuse("the_earliest_time_is_set_and_the_mount_goes_on") {
        return;
    }
    let cluster = Cluster::start(ClusterOptions::new("bad-time", 1)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let log = cluster.dir().join("mount.log");
    let point = cluster.dir().join("mnt");
    let mount = Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted");
    let path = point.join("file");
    let file = File::create(&path).expect("made");
    for tv_sec in [i64::MIN, i64::MIN + 1, i64::MAX] {
        for tv_nsec in [0, 1] {
            let time = Timespec { tv_sec, tv_nsec };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            futimens(&file, &times).expect("a time");
            let modified = fs::metadata(&path).expect("attributes").mtime();
            assert_eq!(modified, tv_sec);
        }
    }
    drop(file);
    mount.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_node_config_is_one_line_that_names_the_field() {
    let scratch = Scratch::new("bad-config").expect("a directory");
    let dir = scratch.path();
    let (addr, metrics) = (free_addr().expect("a port"), free_addr().expect("a port"));
    let good = format!(
        "node_id = 1\nlisten = \"{addr}\"\nmetrics_listen = \"{metrics}\"\n\
         data_dir = \"{}\"\n",
        dir.join("data").display()
    );
    let peer = format!("[[peers]]\nid = 1\naddr = \"{addr}\"\n");
    let cases: [(&str, String); 10] = [
        ("node_id", good.replace("node_id = 1", "node_id = 0")),
        ("node_id", good.replace("node_id = 1\n", "")),
        (
            "listen",
            good.replace(&format!("listen = \"{addr}\""), "listen = \"nonsense\""),
        ),
        (
            "insecure_network",
            good.replace(&format!("\"{addr}\""), "\"0.0.0.0:7101\""),
        ),
        ("data_dir", good.replace("data_dir", "data_dirr")),
        ("reserve_bytes", format!("{good}reserve_bytes = -1\n")),
        ("session_ttl_ms", format!("{good}session_ttl_ms = 0\n")),
        ("colour", format!("{good}colour = \"blue\"\n")),
        (
            "peers",
            format!("{good}{}", peer.replace("id = 1", "id = 2")),
        ),
        (
            "election",
            format!("{good}[raft]\nheartbeat_ms = 2000\nelection_min_ms = 100\n"),
        ),
    ];
    for (index, (field, text)) in cases.iter().enumerate() {
        let config = dir.join(format!("bad{index}.toml"));
        fs::write(&config, text).expect("written");
        let config = config.to_str().expect("UTF-8");
        let Ended { code, said, .. } =
            run("curlew-meta", &["serve", "--config", config], dir).await;
        assert_eq!(code, Some(2), "{text}\nsaid:\n{said}");
        assert!(
            said.contains(field),
            "{text}\ndoes not name {field}:\n{said}"
        );
        assert_eq!(said.trim().lines().count(), 1, "one clear line:\n{said}");
    }
    let missing = dir.join("missing.toml");
    let missing = missing.to_str().expect("UTF-8");
    refused(
        "curlew-meta",
        &["serve", "--config", missing],
        2,
        &["missing.toml"],
        dir,
    )
    .await;
    refused("curlew-meta", &["serve"], 2, &["--config"], dir).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named() {
    let cluster = Cluster::start(ClusterOptions::new("taken", 1))
        .await
        .expect("a cluster");
    let addr = cluster.addrs()[0].clone();
    let dir = cluster.dir();
    let config = dir.join("other.toml");
    let data = dir.join("other");
    let text = format!(
        "node_id = 1\nlisten = \"{addr}\"\ndata_dir = \"{}\"\n",
        data.display()
    );
    fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    refused(
        "curlew-meta",
        &["serve", "--config", config],
        1,
        &[&addr],
        dir,
    )
    .await;
}
