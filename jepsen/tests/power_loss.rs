//! The power is cut at random moments under writers: at one node, and at all at once. Nothing that
//! was acknowledged may be lost, and the nodes must come back by themselves.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip;
use jepsen::loop_image::{Kind, LoopImage, loop_missing};
use jepsen::scratch::{Scratch, notice};
use jepsen::seed::seed;
use jepsen::writer::{Crew, check};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::time::Duration;

/// `make proof` asks for more.
const CYCLES: u32 = 20;
const CYCLES_VARIABLE: &str = "CURLEW_POWER_CYCLES";
const PATIENCE: Duration = Duration::from_secs(60);

fn cycles() -> u32 {
    match std::env::var(CYCLES_VARIABLE) {
        Ok(text) => text.parse().expect("a number of cycles"),
        Err(_) => CYCLES,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_power() {
    if let Some(why) = loop_missing() {
        return skip("power loss", &why);
    }
    let _alone = alone().expect("the turn");
    let seed = seed("power_loss").expect("a seed");
    let mut rng = StdRng::seed_from_u64(seed);
    let scratch = Scratch::new("power").expect("a directory");
    let root = scratch.path().join("data");
    let mut images = BTreeMap::new();
    for id in 1..=3 {
        let kind = if id == 2 { Kind::Xfs } else { Kind::Ext4 };
        let point = root.join(format!("node{id}"));
        let image = LoopImage::new(kind, scratch.path(), &point).expect("an image");
        images.insert(id, image);
    }
    let options = ClusterOptions {
        data_root: Some(root),
        snapshot_entries: Some(2_000),
        keep_entries: Some(500),
        ..ClusterOptions::new("power", 3)
    };
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 2, 6, seed).await.expect("writers");
    let (mut alone, mut all) = (0, 0);
    for cycle in 0..cycles() {
        crew.progress(30, PATIENCE).await.expect("writers go on");
        // Somewhere in the middle of what they do.
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..200_000))).await;
        let mut victims = cluster.ids();
        victims.shuffle(&mut rng);
        if cycle % 5 == 4 {
            all += 1;
        } else {
            alone += 1;
            victims.truncate(1);
        }
        for id in &victims {
            images[id].cut().expect("the power goes");
        }
        for id in &victims {
            // It may have seen the first error and stopped by itself.
            let _ended_by_itself = cluster.node(*id).expect("a node").kill();
        }
        for id in &victims {
            let image = images.get_mut(id).expect("an image");
            image.restore().expect("the power is back");
            cluster.node(*id).expect("a node").start().expect("started");
        }
        let ready = cluster.wait_ready(PATIENCE).await;
        ready.unwrap_or_else(|e| panic!("cycle {cycle}, {victims:?}: {e:#}"));
    }
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    let agreement = cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    let checked = check(&url, &written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    notice(&format!(
        "power_loss: {alone} nodes, {all} times all of them; {checked:?}; {agreement}"
    ));
    cluster.check_stores(PATIENCE).await.expect("sound stores");
    assert!(checked.acknowledged > 600, "the writers wrote enough to tell");
    drop(cluster);
    drop(images);
}
