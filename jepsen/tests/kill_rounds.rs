//! Kills random nodes again and again under writers that record what they were told.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::writer::{Crew, check};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::collections::HashMap;
use std::time::Duration;

const ROUNDS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// One node, every fourth time two: then there is no majority for a while.
async fn victims(cluster: &Cluster, round: u32, rng: &mut StdRng) -> Vec<u64> {
    let mut ids = cluster.ids();
    ids.shuffle(rng);
    if round.is_multiple_of(2) {
        let leader = cluster.leader(PATIENCE).await.expect("a leader");
        ids.sort_by_key(|id| *id != leader);
    }
    ids.truncate(if round % 4 == 3 { 2 } else { 1 });
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_done_twice_in_20_rounds_of_kill() {
    let _alone = alone().expect("the turn");
    let seed = seed("kill_rounds").expect("a seed");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(ClusterOptions::new("kill", 3))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 2, 6, seed).await.expect("writers");
    for round in 0..ROUNDS {
        let victims = victims(&cluster, round, &mut rng).await;
        for id in &victims {
            cluster.node(*id).expect("a node").kill().expect("killed");
        }
        if victims.len() == 1 {
            let on = crew.progress(20, PATIENCE).await;
            on.unwrap_or_else(|e| panic!("round {round}: two nodes must go on: {e:#}"));
        }
        // The fault's length, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1_200))).await;
        for id in &victims {
            cluster.node(*id).expect("a node").start().expect("started");
        }
        let on = crew.progress(50, PATIENCE).await;
        on.unwrap_or_else(|e| panic!("round {round}: {e:#}\n{}", cluster.log_tails(20)));
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
    notice(&format!("kill_rounds: {checked:?}; {agreement}"));
    // Equal digests are equal heads; that the rows and records are what the heads say is read from
    // the disks.
    let stores = cluster.check_stores(PATIENCE).await.expect("sound stores");
    // Nodes that were stopped later may have deleted what nobody held any more; at one seq they
    // are equal.
    let mut by_seq = HashMap::new();
    for said in &stores {
        let (seq, rest) = said.split_once(", ").expect("seq and digest");
        assert_eq!(*by_seq.entry(seq).or_insert(rest), rest, "{stores:?}");
    }
    assert_eq!(
        checked.unknown, 0,
        "sessions live through kills, so every end is known"
    );
    assert!(
        checked.acknowledged > 50 * u64::from(ROUNDS),
        "the writers wrote enough to tell"
    );
}
