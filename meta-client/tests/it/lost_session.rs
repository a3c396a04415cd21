//! Sessions that the cluster forgets.

use crate::fake::{Fake, Fault, caller, operation, until};
use meta_client::{ClientError, SessionOptions};
use proto::v1::FailureKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn an_operation_that_never_ran_is_done_in_the_next_session() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(2).await;
    let first = session.id();
    fake.model.expire(first);
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done in a new session");
    assert_ne!(session.id(), first);
    assert_eq!(fake.model.times_done("a"), 1);
    assert_eq!(session.status().sessions_reopened, 1);
}

#[tokio::test]
async fn an_operation_in_doubt_is_unknown_and_never_moves_to_another_session() {
    for fault in [
        Fault::DoneButFail(FailureKind::Unknown),
        Fault::Fail(FailureKind::Unknown),
    ] {
        let fake = Fake::start(1).await;
        let session = fake.open_slots(2).await;
        let first = session.id();
        let node = &fake.nodes[0];
        node.on_requests([fault]);
        node.on_requests(vec![Fault::Fail(FailureKind::Unavailable); 3]);
        let call = tokio::spawn({
            let session = session.clone();
            async move { session.execute(caller(), operation("a")).await }
        });
        until("the first sending", || fake.model.seen().requests >= 1).await;
        until("its fault", || node.script.requests.lock().len() <= 3).await;
        let done = fake.model.times_done("a");
        fake.model.expire(first);
        let answer = call.await.expect("ran");
        assert!(matches!(answer, Err(ClientError::Unknown(_))), "{answer:?}");
        assert_eq!(
            fake.model.times_done("a"),
            done,
            "not again in another session"
        );
        session
            .execute(caller(), operation("b"))
            .await
            .expect("done in a new session");
        assert_ne!(session.id(), first);
    }
}

#[tokio::test]
async fn an_idle_session_notices_that_it_is_lost() {
    let fake = Fake::start(1).await;
    fake.nodes[0].script.ttl_ms.store(300, Ordering::SeqCst);
    let session = fake.open_slots(2).await;
    let first = session.id();
    until("a sign of life", || {
        fake.model.seen().alive.contains_key(&first.0)
    })
    .await;
    fake.model.expire(first);
    until("a new session", || session.id() != first).await;
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    assert_eq!(fake.model.times_done("a"), 1);
}

#[tokio::test]
async fn many_operations_share_one_new_session() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(16).await;
    fake.model.expire(session.id());
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let session = session.clone();
        calls.spawn(async move {
            session
                .execute(caller(), operation(&format!("op-{number}")))
                .await
        });
    }
    for answer in calls.join_all().await {
        answer.expect("done");
    }
    assert_eq!(session.status().sessions_reopened, 1);
    assert_eq!(fake.model.total_done(), 64);
    fake.model.check_exactly_once();
}

#[tokio::test]
async fn a_lost_answer_to_the_opening_opens_no_second_session() {
    let fake = Fake::start(1).await;
    // The search for the volume, then the opening.
    fake.nodes[0].on_others([Fault::None, Fault::DropAfter, Fault::DropAfter]);
    let session = fake.open_slots(2).await;
    assert_eq!(fake.model.session_count(), 1);
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
}

#[tokio::test]
async fn signs_of_life_come_three_times_in_a_time_to_live() {
    let fake = Fake::start(1).await;
    fake.nodes[0].script.ttl_ms.store(600, Ordering::SeqCst);
    let session = fake.open(SessionOptions::default()).await;
    let id = session.id().0;
    let count = || fake.model.seen().alive.get(&id).copied().unwrap_or(0);
    until("the first sign", || count() >= 1).await;
    let (begin, from) = (tokio::time::Instant::now(), count());
    until("six more signs", || count() >= from + 6).await;
    // Two times to live, with room for a busy machine.
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(
        session.status().session_ttl,
        Some(Duration::from_millis(600))
    );
}
