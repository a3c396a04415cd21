//! Nodes come, go, lose their disks and are replaced while a cluster is written to.

use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::http;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use jepsen::writer::{Crew, Written, check, make, names};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Refusal;
use meta_client::{MetaSession, SessionOptions};
use std::collections::BTreeMap;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// Elections that a node without a majority begins in vain, before it counts as without a chance.
const VAIN: f64 = 5.0;
const VOTES_IN_VAIN: &str = "curlew_meta_peer_failures_total{call=\"pre_vote\"}";

/// Small snapshots, and a log that does not reach back to the beginning: who comes is sent one.
fn options(name: &str) -> ClusterOptions {
    ClusterOptions {
        snapshot_entries: Some(500),
        keep_entries: Some(100),
        ..ClusterOptions::new(name, 3)
    }
}

async fn begin(name: &str, seed: u64) -> (Cluster, Crew) {
    let cluster = Cluster::start(options(name)).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let crew = Crew::begin(&cluster.url("vol"), 2, 4, seed).await;
    let crew = crew.expect("writers");
    crew.progress(1_500, PATIENCE).await.expect("writes");
    (cluster, crew)
}

/// Nothing that was acknowledged is missing, and all members have the same.
async fn end(cluster: &mut Cluster, url: &str, written: &[Written]) {
    let agreement = cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    let checked = check(url, written)
        .await
        .expect("readable")
        .expect("nothing wrong");
    notice(&format!("membership: {checked:?}; {agreement}"));
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

/// Two nodes come; then two of five may be away, and none of the others may be taken out.
async fn grow(cluster: &mut Cluster, crew: &Crew) {
    for voters in [4, 5] {
        let id = cluster.newcomer().expect("a node");
        let said = cluster.administer("join", id).expect("joined");
        assert!(said.contains(&format!("one of {voters}")), "{said}");
        cluster.administer("join", id).expect("joined once");
        crew.progress(100, PATIENCE).await.expect("writes go on");
    }
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let mut ids = cluster.ids();
    ids.retain(|id| *id != leader);
    for id in [leader, ids[0]] {
        cluster.node(id).expect("a node").kill().expect("killed");
    }
    crew.progress(100, PATIENCE)
        .await
        .expect("three of five go on");
    let third = cluster.leader(PATIENCE).await.expect("a leader");
    let follower = ids.into_iter().rfind(|id| *id != third).expect("five");
    let refused = cluster.administer("leave", follower);
    let why = refused.expect_err("it was taken out").to_string();
    assert!(why.contains("start the others first"), "{why}");
    cluster.start_all().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("all are there");
}

/// The leader goes, and then one that is dead.
async fn shrink(cluster: &mut Cluster, crew: &Crew) {
    let gone = cluster.leader(PATIENCE).await.expect("a leader");
    let said = cluster.administer("leave", gone).expect("taken out");
    assert!(said.contains("no member any more"), "{said}");
    cluster.administer("leave", gone).expect("taken out once");
    cluster.forget(gone).expect("forgotten");
    crew.progress(100, PATIENCE).await.expect("writes go on");
    let dead = cluster.ids()[0];
    cluster.node(dead).expect("a node").kill().expect("killed");
    cluster.administer("leave", dead).expect("taken out");
    cluster.forget(dead).expect("forgotten");
    crew.progress(100, PATIENCE).await.expect("writes go on");
}

/// The leader loses its disk, comes back at once without its data, and is taken in anew.
async fn lose_and_replace(cluster: &mut Cluster, crew: &Crew) {
    let lost = cluster.leader(PATIENCE).await.expect("a leader");
    cluster.node(lost).expect("a node").kill().expect("killed");
    cluster.node(lost).expect("a node").wipe().expect("wiped");
    cluster
        .node(lost)
        .expect("a node")
        .start()
        .expect("started");
    crew.progress(100, PATIENCE)
        .await
        .expect("two of three go on");
    let refused = cluster.administer("join", lost);
    let why = refused.expect_err("it is a member").to_string();
    assert!(why.contains("curlew-meta replace"), "{why}");
    cluster.administer("replace", lost).expect("replaced");
    cluster.administer("replace", lost).expect("replaced once");
    cluster.wait_ready(PATIENCE).await.expect("all are there");
    crew.progress(100, PATIENCE).await.expect("writes go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_under_writers_and_nothing_is_lost() {
    let _turn = beside_others().expect("the turn");
    let (mut cluster, crew) = begin("members", seed("membership").expect("a seed")).await;
    let first = cluster.url("vol");
    grow(&mut cluster, &crew).await;
    shrink(&mut cluster, &crew).await;
    lose_and_replace(&mut cluster, &crew).await;
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    assert_eq!(cluster.ids().len(), 3);
    let url = cluster.url("vol");
    assert_ne!(url, first, "others are left than it began with");
    end(&mut cluster, &url, &written).await;
}

/// The votes that a node asked for in vain.
async fn vain(addr: &str) -> Result<f64, String> {
    http::metric(addr, VOTES_IN_VAIN, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_data_has_no_vote() {
    let _turn = beside_others().expect("the turn");
    let (mut cluster, crew) = begin("wiped", seed("membership").expect("a seed")).await;
    let url = cluster.url("vol");
    // What is acknowledged from here on, 1 and 2 have, and 3 has not.
    cluster.node(3).expect("a node").kill().expect("killed");
    crew.progress(300, PATIENCE)
        .await
        .expect("two of three go on");
    for id in [1, 2] {
        cluster.node(id).expect("a node").kill().expect("killed");
    }
    cluster.node(2).expect("a node").wipe().expect("wiped");
    for id in [2, 3] {
        cluster.node(id).expect("a node").start().expect("started");
    }
    // 3 asks 2, which would know nothing better, again and again.
    let metrics = cluster.node(3).expect("a node").metrics_addr().to_owned();
    let tried = wait::until("elections in vain", PATIENCE, async || {
        let count = vain(&metrics).await.unwrap_or(0.0);
        Ok((count >= VAIN).then_some(()).ok_or(format!("{count}")))
    });
    tried.await.expect("node 3 stands for election");
    let addrs = cluster.addrs();
    let led = jepsen::cluster::leader_among(&addrs).await;
    assert!(
        led.is_err(),
        "node {led:?} leads without what was acknowledged"
    );
    // Nor does the node found a cluster of its own.
    let addr = cluster.node(2).expect("a node").addr().to_owned();
    let founded = meta_client::init(&addr, Duration::from_secs(5)).await;
    assert!(founded.is_err(), "{founded:?}");

    cluster.node(1).expect("a node").start().expect("started");
    crew.progress(100, PATIENCE)
        .await
        .expect("two of three go on");
    cluster.administer("replace", 2).expect("replaced");
    cluster.wait_ready(PATIENCE).await.expect("all are there");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    end(&mut cluster, &url, &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_its_majority_goes_on_from_the_one_that_is_left() {
    let _turn = beside_others().expect("the turn");
    let (mut cluster, crew) = begin("recover", seed("membership").expect("a seed")).await;
    let url = cluster.url("vol");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    for id in cluster.ids() {
        cluster.node(id).expect("a node").kill().expect("killed");
    }
    cluster.node(2).expect("a node").wipe().expect("wiped");

    let why = cluster
        .recover(1, &[])
        .expect_err("it was not said")
        .to_string();
    assert!(
        why.contains("nothing was changed") && why.contains("voters 1, 2, 3"),
        "{why}"
    );
    let said = cluster.recover(1, &["--the-others-are-lost"]);
    assert!(said.expect("recovered").contains("the only member"));
    cluster.node(1).expect("a node").start().expect("started");
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    assert_eq!(leader, 1);
    check(&url, &written)
        .await
        .expect("readable")
        .expect("nothing wrong");

    // One that comes back with the old data is no member, and is not made one by a slip.
    cluster.node(3).expect("a node").start().expect("started");
    let why = cluster
        .administer("join", 3)
        .expect_err("it has data")
        .to_string();
    assert!(why.contains("empty data_dir"), "{why}");
    cluster.node(3).expect("a node").kill().expect("killed");
    cluster.node(3).expect("a node").wipe().expect("wiped");
    cluster.start_all().expect("started");
    for id in [2, 3] {
        cluster.administer("join", id).expect("joined");
    }
    cluster.wait_ready(PATIENCE).await.expect("all are there");
    cluster.node(1).expect("a node").kill().expect("killed");
    cluster.leader(PATIENCE).await.expect("the other two go on");
    cluster.start_all().expect("started");
    cluster.wait_ready(PATIENCE).await.expect("all are there");
    end(&mut cluster, &url, &written).await;
}

/// Names of a directory, with what they lead to.
async fn listed(url: &str) -> BTreeMap<String, Ino> {
    let session = MetaSession::open(&url.parse().expect("a URL"), SessionOptions::default()).await;
    let session = session.expect("a session");
    let names = names(&session, Ino::ROOT).await.expect("a listing");
    session.close().await;
    names.into_iter().collect()
}

/// Found by a review: the one that was left gave the inodes of the lost suffix once more, so that a
/// mount which had such a file open would have written into another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_lost_members_gave_is_given_again() {
    let _turn = beside_others().expect("the turn");
    let (mut cluster, crew) = begin("recover-lost", seed("membership").expect("a seed")).await;
    let url = cluster.url("vol");
    crew.stop(PATIENCE).await.expect("the writers end");
    let session = MetaSession::open(&url.parse().expect("a URL"), SessionOptions::default()).await;
    let session = session.expect("a session");
    make(&session, Ino::ROOT, "kept", NewNode::Regular)
        .await
        .expect("made");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    // The others go on without this one, whose data are all that will be left.
    cluster.node(1).expect("a node").kill().expect("killed");
    let mut lost = Vec::new();
    for n in 0..50 {
        let made = make(&session, Ino::ROOT, &format!("lost{n}"), NewNode::Regular).await;
        lost.push(made.expect("two of three are enough").ino);
    }
    let seen = session.token();
    for id in [2, 3] {
        cluster.node(id).expect("a node").kill().expect("killed");
        cluster.node(id).expect("a node").wipe().expect("wiped");
    }
    let said = cluster.recover(1, &["--the-others-are-lost"]);
    assert!(said.expect("recovered").contains("the only member"));
    cluster.node(1).expect("a node").start().expect("started");
    cluster.leader(PATIENCE).await.expect("a leader");

    let names = listed(&url).await;
    assert!(names.contains_key("kept"), "{names:?}");
    assert!(
        !names.keys().any(|name| name.starts_with("lost")),
        "{names:?}"
    );
    // The same session goes on, and is told what is gone.
    let asked = session.get_attrs(&Caller::root(), &lost).await;
    let gone = vec![Err(Refusal::Stale); lost.len()];
    assert_eq!(asked, Ok(gone));
    for n in 0..50 {
        let made = make(&session, Ino::ROOT, &format!("new{n}"), NewNode::Regular).await;
        let made = made.expect("one of one is enough").ino;
        assert!(!lost.contains(&made), "{made} was given before");
    }
    let now = session.token();
    assert!(now.epoch > seen.epoch, "{now:?} {seen:?}");
    session.close().await;
}

/// Questions that are asked at a time, and how often each. Found when one answer read Raft's metrics
/// twice at once: a writer that came between the two stopped the node for ever.
const ASKERS: usize = 24;
const QUESTIONS: usize = 800;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_however_often_it_is_asked_how_it_is() {
    let _turn = beside_others().expect("the turn");
    let (mut cluster, crew) = begin("asked", seed("membership").expect("a seed")).await;
    let leader = cluster.leader(PATIENCE).await.expect("a leader");
    let addr = cluster.node(leader).expect("a node").addr().to_owned();
    let asking = (0..ASKERS).map(|_| {
        let addr = addr.clone();
        tokio::spawn(async move {
            for _ in 0..QUESTIONS {
                let said = meta_client::node_status(&addr, PATIENCE).await;
                said.expect("the node answers");
            }
        })
    });
    for asker in asking.collect::<Vec<_>>() {
        asker.await.expect("it was always answered");
    }
    crew.progress(100, PATIENCE).await.expect("writes go on");
    let written = crew.stop(PATIENCE).await.expect("the writers end");
    let url = cluster.url("vol");
    end(&mut cluster, &url, &written).await;
}
