//! Nodes that leave in order, and nodes that come back late.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::http::metric;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use jepsen::writer::{Crew, check};
use meta_client::node_status;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_hands_leadership_over_without_a_failed_operation() {
    let _alone = alone().expect("the turn");
    let seed = seed("hand_over").expect("a seed");
    let mut cluster = Cluster::start(ClusterOptions::new("stop", 3))
        .await
        .expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 1, 4, seed).await.expect("writers");
    for _ in 0..3 {
        crew.progress(100, PATIENCE)
            .await
            .expect("progress before the stop");
        let leader = cluster.leader(PATIENCE).await.expect("a leader");
        let begin = Instant::now();
        let status = cluster
            .node(leader)
            .expect("a node")
            .stop(PATIENCE)
            .await
            .expect("it ends");
        assert!(status.success(), "a clean stop exits 0: {status}");
        let stopped = begin.elapsed();
        crew.progress(50, PATIENCE)
            .await
            .expect("progress without the old leader");
        notice(&format!(
            "hand_over: stopped in {stopped:?}, on after {:?}",
            begin.elapsed()
        ));
        let next = cluster.leader(PATIENCE).await.expect("the next leader");
        assert_ne!(next, leader);
        cluster
            .node(leader)
            .expect("a node")
            .start()
            .expect("started");
        cluster.wait_ready(PATIENCE).await.expect("ready");
    }
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    let checked = check(&url, &written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    assert_eq!(checked.unknown, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_away_past_the_purged_log_catches_up_by_snapshot() {
    let _alone = alone().expect("the turn");
    let seed = seed("catch_up").expect("a seed");
    let options = ClusterOptions {
        snapshot_entries: Some(500),
        keep_entries: Some(100),
        ..ClusterOptions::new("snapshot", 3)
    };
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 1, 6, seed).await.expect("writers");
    crew.progress(100, PATIENCE).await.expect("progress");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let away = cluster
        .ids()
        .into_iter()
        .find(|id| *id != leader)
        .expect("a follower");
    let addr = cluster.node(away).expect("a node").addr().to_owned();
    let before = node_status(&addr, ASK).await.expect("its status");
    cluster.node(away).expect("a node").kill().expect("killed");

    let leader_addr = cluster
        .node(leader)
        .expect("a node")
        .metrics_addr()
        .to_owned();
    let gone = before.last_log_index as f64;
    wait::until(
        "the log to be purged past the dead node",
        PATIENCE * 3,
        async || {
            Ok(
                match metric(&leader_addr, "curlew_meta_purged_index", ASK).await {
                    Ok(purged) if purged > gone => Ok(()),
                    other => Err(format!("purged {other:?}, the dead node has {gone}")),
                },
            )
        },
    )
    .await
    .expect("purged");
    cluster
        .node(away)
        .expect("a node")
        .start()
        .expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    let agreement = cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    check(&url, &written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    notice(&format!("catch_up: away at {gone}; {agreement}"));
}
