//! Files without names live as long as somebody holds them open, and not longer.

use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::wait;
use meta_client::node_status;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);
const ASK: Duration = Duration::from_secs(2);

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

async fn orphans(cluster: &Cluster) -> u64 {
    let status = node_status(&cluster.addrs()[0], ASK)
        .await
        .expect("a status");
    status.volumes.iter().map(|volume| volume.orphans).sum()
}

async fn wait_for_orphans(cluster: &Cluster, expected: u64) {
    let what = format!("{expected} files without names");
    wait::until(&what, PATIENCE, async || {
        let now = orphans(cluster).await;
        Ok(if now == expected {
            Ok(())
        } else {
            Err(format!("there are {now}"))
        })
    })
    .await
    .expect("reaped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_names_lives_while_it_is_open_and_no_longer() {
    if skip_unless_fuse("a_file_without_names_lives_while_it_is_open_and_no_longer") {
        return;
    }
    let options = ClusterOptions {
        session_ttl_ms: Some(3_000),
        ..ClusterOptions::new("orphan", 1)
    };
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    let (left, mut right) = (mount(&cluster, "left"), mount(&cluster, "right"));

    fs::write(left.path().join("held"), "still here").expect("written");
    let path = left.path().join("held");
    let mut held = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("opened");
    fs::remove_file(right.path().join("held")).expect("removed by the other mount");
    wait_for_orphans(&cluster, 1).await;
    // Longer than the leader takes to ask who holds the file, and than a session may be silent.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut text = String::new();
    held.read_to_string(&mut text)
        .expect("a held file is readable");
    assert_eq!(text, "still here");
    held.seek(SeekFrom::Start(0)).expect("sought");
    held.write_all(b"and written")
        .expect("a held file is writable");
    held.sync_all().expect("synced");
    assert_eq!(orphans(&cluster).await, 1, "it is held");
    drop(held);
    wait_for_orphans(&cluster, 0).await;

    let path = right.path().join("left behind");
    let mut behind = File::create_new(&path).expect("created");
    behind.write_all(b"x").expect("written");
    fs::remove_file(&path).expect("removed");
    wait_for_orphans(&cluster, 1).await;
    right
        .process()
        .kill()
        .expect("a mount that dies takes what it held with it");
    drop(behind);
    wait_for_orphans(&cluster, 0).await;
    left.unmount().expect("unmounted");
}
