//! Opening, closing, and the question for open files.

use crate::fake::{Fake, PATIENCE, caller, operation, until};
use meta_client::{ClientError, Failure, HeldInodes, MetaSession, MetaUrl, SessionOptions};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use meta_core::query::QueryBody;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;

#[tokio::test]
async fn an_unknown_volume_is_refused() {
    let fake = Fake::start(1).await;
    let url = MetaUrl {
        addrs: fake.addrs(),
        volume: "other".into(),
    };
    let error = MetaSession::open(&url, SessionOptions::default())
        .await
        .expect_err("unknown");
    assert_eq!(error, ClientError::Refused(Refusal::UnknownVolume));
}

#[tokio::test]
async fn options_past_their_limits_are_refused() {
    let fake = Fake::start(1).await;
    for options in [
        SessionOptions {
            slots: 0,
            ..SessionOptions::default()
        },
        SessionOptions {
            slots: 1025,
            ..SessionOptions::default()
        },
        SessionOptions {
            queries: 0,
            ..SessionOptions::default()
        },
        SessionOptions {
            info: vec![b' '; 4097],
            ..SessionOptions::default()
        },
    ] {
        let error = MetaSession::open(&fake.url(), options)
            .await
            .expect_err("past a limit");
        assert!(
            matches!(error, ClientError::Failed(Failure::BadRequest(_))),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn closing_ends_the_session_in_the_cluster() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    assert_eq!(session.volume().name, "vol");
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    session.close().await;
    assert_eq!(fake.model.session_count(), 0);
    let answer = session.execute(caller(), operation("b")).await;
    assert_eq!(answer, Err(ClientError::Failed(Failure::Closed)));
    let answer = session.query(caller(), QueryBody::StatVolume).await;
    assert_eq!(answer, Err(ClientError::Failed(Failure::Closed)));
    // Once more does no harm.
    session.clone().close().await;
    assert_eq!(fake.model.times_done("b"), 0);
}

#[tokio::test]
async fn closing_waits_for_operations_in_flight() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let node = &fake.nodes[0];
    node.script.held_back.store(true, Ordering::SeqCst);
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.execute(caller(), operation("a")).await }
    });
    until("the request", || fake.model.seen().requests == 1).await;
    let closing = tokio::spawn({
        let session = session.clone();
        async move { session.close().await }
    });
    tokio::task::yield_now().await;
    node.script.held_back.store(false, Ordering::SeqCst);
    node.script.release.notify_waiters();
    call.await
        .expect("ran")
        .expect("done before the session ends");
    closing.await.expect("ran");
    assert_eq!(fake.model.session_count(), 0);
}

#[tokio::test]
async fn closing_without_a_cluster_ends_too() {
    let mut fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let node = fake.nodes.remove(0);
    node.cut();
    drop(node);
    tokio::time::timeout(PATIENCE, session.close())
        .await
        .expect("bounded");
}

/// Holds the odd ones, once it is told to answer.
#[derive(Debug, Default)]
struct Odd(Arc<Notify>);

#[tonic::async_trait]
impl HeldInodes for Odd {
    async fn held(&self, asked: &[Ino]) -> Vec<Ino> {
        self.0.notified().await;
        // One that was not asked for is not told.
        let odd = asked.iter().copied().filter(|ino| ino.0 % 2 == 1);
        odd.chain([Ino(1001)]).collect()
    }
}

#[tokio::test]
async fn the_leader_is_told_which_files_are_open() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let id = session.id().0;
    fake.nodes[0].ask_held(1, id, &[3, 4, 5]).await;
    until("an answer", || fake.model.seen().held.len() == 1).await;
    let go = Arc::new(Notify::new());
    session.hold_inodes(Arc::new(Odd(Arc::clone(&go))));
    fake.nodes[0].ask_held(2, id, &[3, 4, 5]).await;
    session
        .execute(caller(), operation("a"))
        .await
        .expect("other work goes on");
    assert_eq!(
        fake.model.seen().held.len(),
        1,
        "the answer waits for the holder"
    );
    go.notify_one();
    until("an answer", || fake.model.seen().held.len() == 2).await;
    assert_eq!(
        fake.model.seen().held,
        [(1, id, vec![]), (2, id, vec![3, 5])]
    );
}

#[tokio::test]
async fn a_session_without_handles_stops() {
    let fake = Fake::start(1).await;
    fake.nodes[0].script.ttl_ms.store(150, Ordering::SeqCst);
    let session = fake.open_slots(4).await;
    let id = session.id().0;
    until("signs of life", || {
        fake.model.seen().alive.get(&id).is_some_and(|n| *n > 2)
    })
    .await;
    drop(session);
    let signs = || fake.model.seen().alive[&id];
    // Some may be under way.
    let mut last = signs();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if signs() == last {
            return;
        }
        last = signs();
    }
    panic!("the session goes on living");
}
