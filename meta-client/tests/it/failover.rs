//! Finding the leader, and the next one.

use crate::fake::{Fake, Fault, PATIENCE, caller, operation, until};
use meta_client::{ClientError, Cluster, Failure, MetaSession, MetaUrl, SessionOptions};
use meta_core::ids::Ino;
use meta_core::query::QueryBody;
use proto::v1::FailureKind;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

fn quick() -> SessionOptions {
    SessionOptions {
        open_for: Duration::from_millis(1500),
        ..SessionOptions::default()
    }
}

#[tokio::test]
async fn the_leader_is_found_among_the_addresses() {
    let fake = Fake::start(3).await;
    fake.lead(2);
    let session = fake.open_slots(4).await;
    let status = session.status();
    assert_eq!(status.leader.as_ref(), Some(&fake.nodes[2].addr));
    assert!(status.connected);
    assert_eq!(status.trouble, None);
}

#[tokio::test]
async fn a_leader_outside_the_url_is_found_by_a_hint() {
    let fake = Fake::start(3).await;
    fake.lead(2);
    let url = MetaUrl {
        addrs: vec![fake.nodes[0].addr.clone()],
        volume: "vol".into(),
    };
    let session = MetaSession::open(&url, quick()).await.expect("a session");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[2].addr));
}

#[tokio::test]
async fn a_leader_that_the_url_does_not_name_is_found_when_all_that_it_names_are_gone() {
    let mut fake = Fake::start(2).await;
    let next = fake.nodes[1].addr.clone();
    let first = &fake.nodes[0];
    first.script.named.lock().push(next.clone());
    let url = MetaUrl {
        addrs: vec![first.addr.clone()],
        volume: "vol".into(),
    };
    let session = MetaSession::open(&url, quick()).await.expect("a session");
    until("the client to ask who the members are", || {
        fake.nodes[0].script.status_asked.load(Ordering::SeqCst) > 0
    })
    .await;
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    // It says no word of its successor.
    let dead = fake.nodes.remove(0);
    dead.cut();
    drop(dead);
    fake.lead(0);
    let call = session.execute(caller(), operation("b"));
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("in time")
        .expect("done by who came later");
    assert_eq!(session.status().leader, Some(next));
}

#[tokio::test]
async fn a_deposed_leader_is_left_for_its_successor() {
    let fake = Fake::start(3).await;
    let session = fake.open_slots(4).await;
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    fake.lead(1);
    session
        .execute(caller(), operation("b"))
        .await
        .expect("done by the next leader");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[1].addr));
    let id = session.id();
    assert!(
        fake.model.seen().attached.contains(&id.0),
        "the hello names the session"
    );
    assert_eq!(
        (fake.model.times_done("a"), fake.model.times_done("b")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_silent_leader_is_left_within_about_two_seconds() {
    let fake = Fake::start(2).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].script.stalled.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.execute(caller(), operation("a")).await }
    });
    fake.lead(1);
    call.await.expect("ran").expect("done by the next leader");
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(fake.model.times_done("a"), 1);
}

#[tokio::test]
async fn a_busy_leader_that_answers_pings_is_not_left_at_once() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let node = &fake.nodes[0];
    node.script.held_back.store(true, Ordering::SeqCst);
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.execute(caller(), operation("slow")).await }
    });
    // Longer than a silent leader gets: two pings at least are answered meanwhile.
    until("pings", || fake.model.seen().pings >= 4).await;
    node.script.held_back.store(false, Ordering::SeqCst);
    node.script.release.notify_waiters();
    call.await.expect("ran").expect("done");
    assert_eq!(session.status().streams, 1);
    assert_eq!(fake.model.seen().requests, 1);
}

#[tokio::test]
async fn a_leader_that_answers_pings_and_nothing_else_is_left() {
    let fake = Fake::start(2).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].script.deaf.store(true, Ordering::SeqCst);
    // Both say that they lead: the one that was left is believed last.
    fake.nodes[1].follow(true, &fake.nodes[1].addr);
    let call = session.execute(caller(), operation("a"));
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("in time")
        .expect("done elsewhere");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[1].addr));
    assert_eq!(fake.model.times_done("a"), 1);
}

#[tokio::test]
async fn a_leader_that_cannot_serve_is_left_for_one_that_can() {
    let fake = Fake::start(2).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].on_requests(vec![Fault::Fail(FailureKind::Unavailable); 10_000]);
    fake.nodes[1].follow(true, &fake.nodes[1].addr);
    let call = session.execute(caller(), operation("a"));
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("in time")
        .expect("done elsewhere");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[1].addr));
}

#[tokio::test]
async fn a_dead_leader_is_replaced_when_its_node_ends() {
    let mut fake = Fake::start(3).await;
    let session = fake.open_slots(4).await;
    let dead = fake.nodes.remove(0);
    dead.cut();
    drop(dead);
    fake.lead(1);
    let call = session.execute(caller(), operation("a"));
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("in time")
        .expect("done");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[1].addr));
}

#[tokio::test]
async fn operations_wait_while_there_is_no_leader() {
    let fake = Fake::start(2).await;
    let session = fake.open_slots(4).await;
    for node in &fake.nodes {
        node.follow(false, "");
    }
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.execute(caller(), operation("a")).await }
    });
    until("the leader is left", || !session.status().connected).await;
    until("the trouble is told", || session.status().trouble.is_some()).await;
    assert!(!call.is_finished());
    fake.lead(0);
    call.await.expect("ran").expect("done");
    assert_eq!(session.status().trouble, None);
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let fake = Fake::start(1).await;
    let url = MetaUrl {
        addrs: vec!["127.0.0.1:1".into()],
        volume: "vol".into(),
    };
    let error = MetaSession::open(&url, quick())
        .await
        .expect_err("nobody is there");
    assert!(
        matches!(error, ClientError::Failed(Failure::Unreachable(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    fake.nodes[0].follow(false, "");
    let error = MetaSession::open(&fake.url(), quick())
        .await
        .expect_err("nobody leads");
    assert!(
        matches!(error, ClientError::Failed(Failure::NoLeader(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_new_cluster_says_at_once_that_it_is_not_initialised() {
    let fake = Fake::start(2).await;
    for node in &fake.nodes {
        node.follow(false, "");
        node.script.initialised.store(false, Ordering::SeqCst);
    }
    let begin = Instant::now();
    let error = Cluster::connect(&fake.addrs(), PATIENCE)
        .await
        .expect_err("not initialised");
    assert_eq!(error, ClientError::Failed(Failure::NotInitialised));
    assert!(begin.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn another_version_is_told_at_once() {
    let fake = Fake::start(1).await;
    fake.nodes[0]
        .script
        .hello_version
        .store(9, Ordering::SeqCst);
    let error = Cluster::connect(&fake.addrs(), PATIENCE)
        .await
        .expect_err("another version");
    assert!(
        matches!(error, ClientError::Failed(Failure::VersionMismatch(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn queries_follow_the_leader_too() {
    let fake = Fake::start(2).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].cut();
    fake.lead(1);
    session
        .query(caller(), QueryBody::ReadLink { ino: Ino(5) })
        .await
        .expect("answered");
    assert_eq!(session.status().leader.as_ref(), Some(&fake.nodes[1].addr));
}

#[tokio::test]
async fn a_node_that_hangs_does_not_hold_up_the_search() {
    // Accepts connections, as the kernel does for a stopped process, and never reads.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let hung_addr = hung.local_addr().expect("an address").to_string();
    let fake = Fake::start(2).await;
    // The others still believe that it leads.
    fake.nodes[0].follow(false, &hung_addr);
    fake.nodes[1].follow(false, &hung_addr);
    let mut addrs = fake.addrs();
    addrs.insert(0, hung_addr);
    let url = MetaUrl {
        addrs,
        volume: "vol".into(),
    };
    let opening = tokio::spawn(async move {
        let options = SessionOptions {
            slots: 2,
            ..SessionOptions::default()
        };
        MetaSession::open(&url, options).await
    });
    until("a first round of greetings", || {
        fake.model.seen().hellos >= 2
    })
    .await;
    let begin = Instant::now();
    fake.lead(1);
    opening.await.expect("ran").expect("a session");
    assert!(
        begin.elapsed() < Duration::from_millis(1400),
        "{:?}",
        begin.elapsed()
    );
}
