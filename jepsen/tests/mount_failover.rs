//! A real mount lives through its leaders' deaths.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Error, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const KILLS: u32 = 4;

type Written = BTreeMap<PathBuf, [u8; 32]>;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    operations: AtomicU64,
}

/// Writes files and reads random earlier ones back until told to stop. Any error ends it.
fn work(dir: &Path, seed: u64, shared: &Shared) -> Result<Written, Error> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut written = Written::new();
    fs::create_dir(dir)?;
    for number in 0_u32.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let mut content = vec![0; rng.random_range(0..200_000)];
        rng.fill_bytes(&mut content);
        let path = dir.join(format!("f{number}"));
        let mut file = File::create_new(&path)?;
        let (first, second) = content.split_at(content.len() / 2);
        file.write_all(first)?;
        file.write_all(second)?;
        if rng.random_bool(0.5) {
            file.sync_all()?;
        }
        drop(file);
        written.insert(path, Sha256::digest(&content).into());
        let index = rng.random_range(0..written.len());
        if let Some((path, hash)) = written.iter().nth(index) {
            let read: [u8; 32] = Sha256::digest(fs::read(path)?).into();
            assert_eq!(read, *hash, "{} has other content", path.display());
        }
        shared.operations.fetch_add(1, Ordering::Relaxed);
    }
    Ok(written)
}

async fn progress(shared: &Shared, more: u64) {
    let begin = shared.operations.load(Ordering::Relaxed);
    wait::until("files to be written", PATIENCE, async || {
        let now = shared.operations.load(Ordering::Relaxed);
        Ok(if now >= begin + more {
            Ok(())
        } else {
            Err(format!("{} of {more}", now - begin))
        })
    })
    .await
    .expect("progress");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_survives_its_leaders_deaths_without_an_error() {
    if skip_unless_fuse("a_mount_survives_its_leaders_deaths_without_an_error") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("mount_failover").expect("a seed");
    let mut cluster = Cluster::start(ClusterOptions::new("mount", 3))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let dir = cluster.dir().to_owned();
    let mount = Mount::start(&url, &dir.join("mnt"), &dir.join("mount.log"), &[]).expect("mounted");

    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = (0..3_u64)
        .map(|index| {
            let (dir, shared) = (mount.path().join(format!("t{index}")), Arc::clone(&shared));
            std::thread::spawn(move || work(&dir, seed.wrapping_add(index), &shared))
        })
        .collect();
    for _ in 0..KILLS {
        progress(&shared, 20).await;
        let leader = cluster.leader(PATIENCE).await.expect("a leader");
        cluster
            .node(leader)
            .expect("a node")
            .kill()
            .expect("killed");
        progress(&shared, 20).await;
        cluster
            .node(leader)
            .expect("a node")
            .start()
            .expect("started");
        cluster.wait_ready(PATIENCE).await.expect("ready");
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut written = Written::new();
    for thread in threads {
        let result = thread.join().expect("no wrong content");
        written.extend(result.expect("no operation fails through a leader's death"));
    }
    mount.unmount().expect("unmounted");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");

    let second = dir.join("second");
    let again = Mount::start(&url, &second, &dir.join("second.log"), &[]).expect("mounted");
    for (path, hash) in &written {
        let path = second.join(path.strip_prefix(dir.join("mnt")).expect("below the mount"));
        let content = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let read: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!(
            read,
            *hash,
            "{} has other content after a remount",
            path.display()
        );
    }
    again.unmount().expect("unmounted");
    notice(&format!(
        "mount_failover: {} files equal after {KILLS} kills",
        written.len()
    ));
}
