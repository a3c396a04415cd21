//! Limits and totals on real clusters: no writer of any mount gets past a limit while a leader dies, and what
//! was there before anybody counted is counted to the last file.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::curlew::said;
use jepsen::fuse::skip_unless_fuse;
use jepsen::many::each;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::wait;
use jepsen::writer::make;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::meta_core::quota::Amount;
use meta_client::{MetaSession, SessionOptions};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: usize = 16 << 10;
const BLOCKS: u64 = 150;
const WRITERS: usize = 6;

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

async fn session(url: &str) -> MetaSession {
    let url = url.parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    session.expect("a session")
}

fn kill_leader(cluster: &mut Cluster, leader: u64) {
    let node = cluster.node(leader).expect("a node");
    node.kill().expect("killed");
    node.start().expect("started");
}

/// Appends blocks that are stored one by one, until there is no more room. Gives how many were.
fn fill(path: PathBuf, stored: Arc<AtomicU64>) -> u64 {
    let mut file = File::create(path).expect("a file");
    let mut own = 0;
    loop {
        let ended = file.write_all(&[7; BLOCK]).and_then(|()| file.sync_data());
        match ended {
            Ok(()) => {
                own += 1;
                stored.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
                return own;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_while_a_leader_dies() {
    if skip_unless_fuse("limits_hold_while_a_leader_dies") {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut pair = Pair::start("quota", 3, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    let url = pair.origin_url();
    pair.origin.raised("vol", PATIENCE).await.expect("raised");
    let mounts = [mount(&pair.origin, "left"), mount(&pair.origin, "right")];
    fs::create_dir(mounts[0].path().join("team")).expect("a directory");
    let limit = (BLOCKS * BLOCK as u64).to_string();
    said(&[
        "quota",
        "set",
        &url,
        "--path",
        "/team",
        "--capacity",
        &limit,
        "--json",
    ]);
    let stored = Arc::new(AtomicU64::new(0));
    let writers = (0..WRITERS).map(|number| {
        let path = mounts[number % 2].path().join(format!("team/{number}"));
        let stored = Arc::clone(&stored);
        thread::spawn(move || fill(path, stored))
    });
    let writers: Vec<_> = writers.collect();
    wait::until("half of it to be written", PATIENCE, async || {
        let now = stored.load(Ordering::Relaxed);
        Ok((now > BLOCKS / 2)
            .then_some(())
            .ok_or_else(|| now.to_string()))
    })
    .await
    .expect("written");
    let leader = pair.origin.leader(PATIENCE).await.expect("a leader");
    kill_leader(&mut pair.origin, leader);
    let own: Vec<u64> = writers
        .into_iter()
        .map(|writer| writer.join().expect("ends"))
        .collect();
    assert_eq!(own.iter().sum::<u64>(), BLOCKS, "all of it, and no more");
    for (number, blocks) in own.iter().enumerate() {
        let path = mounts[(number + 1) % 2]
            .path()
            .join(format!("team/{number}"));
        let length = fs::metadata(path).expect("stat").len();
        assert_eq!(length, blocks * BLOCK as u64, "what was stored is there");
    }
    let df = rustix::fs::statvfs(mounts[1].path().join("team")).expect("statvfs");
    let blocks = df.f_blocks * df.f_frsize;
    assert_eq!((blocks, df.f_bavail), (BLOCKS * BLOCK as u64, 0));
    pair.origin.wait_ready(PATIENCE).await.expect("ready");
    pair.caught_up(PATIENCE).await.expect("caught up");
    for side in [&url, &pair.mirror_url()] {
        let told = said(&["quota", "get", side, "--path", "/team", "--json"]);
        assert_eq!(told["bytes"]["used"], BLOCKS * BLOCK as u64, "{told}");
        assert_eq!(told["inodes"]["used"], WRITERS, "{told}");
    }
    for mount in mounts {
        mount.unmount().expect("unmounted");
    }
    pair.agreed(PATIENCE).await.expect("the sides agree");
    for side in [&mut pair.origin, &mut pair.mirror] {
        side.check_stores(PATIENCE).await.expect("sound stores");
    }
}

async fn amounts(session: &MetaSession, ino: Ino) -> Result<Amount, String> {
    let body = QueryBody::Amounts { inos: vec![ino] };
    match session.query(Caller::root(), body).await {
        Ok(Answer::Amounts(amounts)) => amounts[0].map_err(|refusal| refusal.to_string()),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_before_are_counted_while_a_leader_dies() {
    let _alone = alone().expect("the turn");
    let options = ClusterOptions {
        raise_levels: false,
        ..ClusterOptions::new("counted", 3)
    };
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let session = session(&url).await;
    let (dirs, files) = (40_u64, 200);
    for dir in 0..dirs {
        let made = make(&session, Ino::ROOT, &format!("d{dir}"), NewNode::Directory).await;
        let parent = made.expect("a directory").ino;
        let session = session.clone();
        let made = each(0..files, 32, move |file| {
            let session = session.clone();
            async move {
                let name = format!("f{file}");
                make(&session, parent, &name, NewNode::Regular).await?;
                Ok(())
            }
        });
        made.await.expect("files");
    }
    let before = amounts(&session, Ino::ROOT).await;
    assert!(before.is_err(), "at level 1: {before:?}");
    cluster
        .reconfigure(|options| options.raise_levels = true)
        .expect("written");
    for id in cluster.ids() {
        kill_leader(&mut cluster, id);
        cluster.wait_ready(PATIENCE).await.expect("ready");
    }
    cluster.raised("vol", PATIENCE).await.expect("raised");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    kill_leader(&mut cluster, leader);
    // Whoever leads next goes on where it was.
    let wanted = Amount {
        files: dirs * files,
        directories: dirs,
        bytes: 0,
    };
    wait::until("all files to be counted", PATIENCE, async || {
        let found = amounts(&session, Ino::ROOT).await;
        Ok((found == Ok(wanted))
            .then_some(())
            .ok_or_else(|| format!("{found:?}")))
    })
    .await
    .expect("counted");
    session.close().await;
    cluster.wait_ready(PATIENCE).await.expect("ready");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
