//! `curlew mdtest` on a real cluster: it does what it says, tells it as scripts read it, and leaves
//! nothing behind.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::scratch::notice;
use jepsen::writer::{make, names};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{MetaSession, SessionOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Output};

const THREADS: u64 = 4;
/// Of one thread: 1 + 2 + 4 directories with 5 files in each.
const DIRS: u64 = 7;
const FILES: u64 = DIRS * 5;
const SHAPE: [&str; 8] = [
    "--threads",
    "4",
    "--dirs",
    "2",
    "--depth",
    "2",
    "--files",
    "5",
];

fn mdtest(url: &str, path: &str, more: &[&str]) -> Output {
    let mut command = Command::new(binary("curlew").expect("built"));
    command.args(["mdtest", url, path]).args(SHAPE).args(more);
    command.output().expect("curlew runs")
}

fn figures(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Each operation's name, and how often it was done.
fn counts(figures: &Value) -> BTreeMap<String, u64> {
    let operations = figures["operations"].as_array().expect("operations");
    let count = |op: &Value| {
        assert!(op["ops_per_s"].as_f64().expect("a rate") > 0.0, "{op}");
        assert!(op["p99_us"].as_f64() >= op["p50_us"].as_f64(), "{op}");
        let name = op["op"].as_str().expect("a name").to_owned();
        (name, op["count"].as_u64().expect("a count"))
    };
    operations.iter().map(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mdtest_does_all_it_says_and_leaves_nothing() {
    let _alone = alone().expect("the turn");
    let cluster = Cluster::start(ClusterOptions::new("mdtest", 1)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let session = MetaSession::open(&url.parse().expect("a URL"), SessionOptions::default()).await;
    let session = session.expect("a session");
    let home = make(&session, Ino::ROOT, "home", NewNode::Directory).await;
    let home = home.expect("made").ino;

    let all = figures(&mdtest(&url, "/home/md", &["--write", "70000", "--json"]));
    let (dirs, files) = (THREADS * DIRS, THREADS * FILES);
    let expected = [
        ("mkdir", dirs),
        ("create", files),
        ("write", files),
        ("stat", files),
        ("readdir", dirs),
        ("rename", files),
        ("unlink", files),
        ("rmdir", dirs),
    ];
    let expected = expected.map(|(op, count)| (op.to_owned(), count));
    assert_eq!(counts(&all), BTreeMap::from(expected));
    assert_eq!(all["threads"], THREADS);
    let floors = all["floors"].as_array().expect("floors");
    let floors: Vec<&str> = floors
        .iter()
        .filter_map(|one| one["floor"].as_str())
        .collect();
    assert_eq!(floors, ["fdatasync", "stream echo"]);

    let some = figures(&mdtest(
        &url,
        "/home/md",
        &["--ops", "create,stat", "--json"],
    ));
    let told: Vec<String> = counts(&some).into_keys().collect();
    assert_eq!(told, ["create", "stat"]);
    let text = mdtest(&url, "/home/md", &["--ops", "create"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("x fdatasync") && text.contains("(floor)"),
        "{text}"
    );
    notice(&text);
    let left = names(&session, home).await.expect("a listing");
    assert_eq!(left, [], "something is left");

    // What is there is nobody's to remove.
    make(&session, home, "mine", NewNode::Directory)
        .await
        .expect("made");
    for (path, why) in [
        ("/home/mine", "cannot make"),
        ("/nowhere/md", "no directory"),
    ] {
        let refused = mdtest(&url, path, &["--json"]);
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{errors}");
        assert!(errors.contains(why), "{errors}");
    }
    let asked = session.query(Caller::root(), QueryBody::StatVolume).await;
    let Ok(Answer::Stat(stat)) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(stat.inodes, 3, "the root, home and mine");
    session.close().await;
}
