//! What nodes of earlier versions stored is opened by this one.

use jepsen::alone::alone;
use jepsen::binaries::binary;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fixture::{About, Fixture, VOLUME, checked, held, listing};
use jepsen::scratch::{Scratch, notice};
use jepsen::wait;
use jepsen::writer::make;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::{Dump, MetaSession, MetaUrl, SessionOptions};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(url: &str) -> MetaSession {
    let url: MetaUrl = url.parse().expect("a URL of ours");
    let opened = MetaSession::open(&url, SessionOptions::default()).await;
    opened.expect("a session")
}

/// Every row and record that is in the files of the state.
fn check(fixture: &Fixture, about: &About, dir: &Path) {
    let options = fixture.unpack(dir).expect("unpacked");
    let mut cluster = Cluster::prepare(options).expect("configured");
    let config = cluster.node(1).expect("a node").config();
    assert_eq!(checked(config).expect("in order"), about.flushed);
}

/// What a client reads, and that the node goes on.
async fn serve(fixture: &Fixture, about: &About, dir: &Path) {
    let options = ClusterOptions {
        // What is stored is compared with what was.
        raise_levels: false,
        ..fixture.unpack(dir).expect("unpacked")
    };
    let mut cluster = Cluster::prepare(options).expect("configured");
    cluster.start_all().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    // The log's last entries are applied once the node leads.
    let replayed = wait::until("the log to be replayed", PATIENCE, async || {
        let here = held(&cluster.digests_equal(PATIENCE).await?);
        Ok(if here == about.applied {
            Ok(())
        } else {
            Err(format!("{here:?}, and it had {:?}", about.applied))
        })
    });
    replayed.await.unwrap_or_else(|e| panic!("{e:#}"));
    let session = open(&cluster.url(VOLUME)).await;
    let listed = listing(&session).await.expect("readable");
    assert!(listed == fixture.listing().expect("readable"), "{listed}");
    let made = make(&session, Ino::ROOT, "new", NewNode::Regular).await;
    made.expect("it goes on");
    session.close().await;
    let stores = cluster.check_stores(PATIENCE).await.expect("sound stores");
    notice(&format!("stored_formats: {}: {stores:?}", fixture.name()));
}

/// A dump becomes a volume that reads the same.
async fn load(fixture: &Fixture, dir: &Path) {
    fixture.unpack(dir).expect("unpacked");
    let cluster = Cluster::start(ClusterOptions::new("fixture-load", 1)).await;
    let mut cluster = cluster.expect("a cluster");
    let file = Fixture::dump(dir);
    let dump = Dump::open(File::open(&file).expect("a dump")).expect("a dump");
    // Its blocks are not in the repository. There is a place for them, and none of them is read.
    let blocks = dir.join("blocks");
    let own = blocks.join(dump.head().volume.to_string());
    fs::create_dir_all(own).expect("made");
    let mut command = Command::new(binary("curlew").expect("built"));
    command.arg("load").arg(&file);
    command.args(["--storage", "file", "--bucket"]).arg(&blocks);
    let output = command.arg(cluster.url("back")).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let session = open(&cluster.url("back")).await;
    let listed = listing(&session).await.expect("readable");
    assert!(listed == fixture.listing().expect("readable"), "{listed}");
    session.close().await;
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_earlier_format_left_on_disk_opens() {
    let _alone = alone().expect("the turn");
    let fixtures = Fixture::all().expect("fixtures");
    assert!(!fixtures.is_empty(), "the first format has one");
    for fixture in fixtures {
        let about = fixture.about().expect("it says what it is");
        let scratch = Scratch::new("stored-formats").expect("a directory");
        check(&fixture, &about, &scratch.path().join("check"));
        serve(&fixture, &about, &scratch.path().join("serve")).await;
        load(&fixture, &scratch.path().join("load")).await;
    }
}
