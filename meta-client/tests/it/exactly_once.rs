//! Each operation is executed once, whatever happens on its way.

use crate::fake::{Fake, Fault, caller, operation, until};
use meta_client::{ClientError, Failure, SessionOptions};
use meta_core::outcome::{Refusal, Success};
use proptest::prelude::*;
use proto::v1::FailureKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn once_after(faults: &[Fault]) {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(1).await;
    fake.nodes[0].on_requests(faults.iter().copied());
    let answer = session.execute(caller(), operation("a")).await;
    assert!(
        matches!(answer, Ok(Success::Removed { .. })),
        "{faults:?}: {answer:?}"
    );
    assert_eq!(fake.model.times_done("a"), 1, "{faults:?}");
    // The slot goes on with its next sequence.
    session
        .execute(caller(), operation("b"))
        .await
        .expect("the slot works");
    assert_eq!(fake.model.sequences(session.id())[&0], 2, "{faults:?}");
    fake.model.check_exactly_once();
    assert_eq!(session.status().sessions_reopened, 0);
}

#[tokio::test]
async fn a_stream_that_breaks_before_the_execution_is_survived() {
    once_after(&[Fault::DropBefore]).await;
    once_after(&[Fault::DropBefore, Fault::DropBefore, Fault::DropBefore]).await;
}

#[tokio::test]
async fn a_stream_that_breaks_after_the_execution_is_survived() {
    once_after(&[Fault::DropAfter]).await;
    once_after(&[Fault::DropAfter, Fault::DropBefore, Fault::DropAfter]).await;
}

#[tokio::test]
async fn failures_that_a_retry_heals_are_retried_in_the_same_slot() {
    for kind in [
        FailureKind::Unavailable,
        FailureKind::Overloaded,
        FailureKind::NotLeader,
    ] {
        once_after(&[Fault::Fail(kind)]).await;
    }
    once_after(&[Fault::Fail(FailureKind::Unknown)]).await;
    once_after(&[Fault::DoneButFail(FailureKind::Unknown)]).await;
    once_after(&[Fault::DropAfter, Fault::Fail(FailureKind::Unavailable)]).await;
    // A kind that this version does not know promises nothing.
    once_after(&[Fault::DoneButFail(FailureKind::Unspecified)]).await;
}

#[tokio::test]
async fn an_operation_in_doubt_is_resent_through_no_space() {
    let no_space = Fault::Fail(FailureKind::NoSpace);
    once_after(&[Fault::DropAfter, no_space, no_space]).await;
}

#[tokio::test]
async fn no_space_is_refused_and_its_sequence_used_again() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(1).await;
    fake.nodes[0].on_requests([Fault::Fail(FailureKind::NoSpace)]);
    let answer = session.execute(caller(), operation("a")).await;
    assert_eq!(answer, Err(ClientError::Refused(Refusal::NoSpace)));
    session
        .execute(caller(), operation("b"))
        .await
        .expect("there is space again");
    assert_eq!(fake.model.sequences(session.id())[&0], 1);
    assert_eq!(
        (fake.model.times_done("a"), fake.model.times_done("b")),
        (0, 1)
    );
}

#[tokio::test]
async fn a_bad_request_fails_and_its_sequence_is_used_again() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(1).await;
    fake.nodes[0].on_requests([Fault::Fail(FailureKind::BadRequest)]);
    let answer = session.execute(caller(), operation("a")).await;
    assert!(
        matches!(answer, Err(ClientError::Failed(Failure::BadRequest(_)))),
        "{answer:?}"
    );
    session
        .execute(caller(), operation("b"))
        .await
        .expect("the slot works");
    assert_eq!(fake.model.sequences(session.id())[&0], 1);
}

#[tokio::test]
async fn a_refusal_uses_its_sequence() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(1).await;
    let answer = session.execute(caller(), operation("refuse")).await;
    assert_eq!(answer, Err(ClientError::Refused(Refusal::NotEmpty)));
    session
        .execute(caller(), operation("b"))
        .await
        .expect("the slot works");
    assert_eq!(fake.model.sequences(session.id())[&0], 2);
}

#[tokio::test]
async fn nonsense_for_an_answer_is_unknown_and_its_slot_is_given_up() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].on_requests([Fault::Nonsense]);
    let answer = session.execute(caller(), operation("a")).await;
    assert!(matches!(answer, Err(ClientError::Unknown(_))), "{answer:?}");
    for text in ["b", "c", "d", "e", "f", "g"] {
        session
            .execute(caller(), operation(text))
            .await
            .expect("other slots work");
    }
    let sequences = fake.model.sequences(session.id());
    assert_eq!(sequences[&0], 1, "the slot in doubt is left alone");
    fake.model.check_exactly_once();
}

fn short(slots: u32) -> SessionOptions {
    let retry_for = Some(Duration::from_millis(300));
    SessionOptions {
        slots,
        retry_for,
        ..SessionOptions::default()
    }
}

#[tokio::test]
async fn a_deadline_without_any_execution_is_failed() {
    let fake = Fake::start(1).await;
    let session = fake.open(short(2)).await;
    fake.nodes[0].on_requests(vec![Fault::Fail(FailureKind::Unavailable); 1000]);
    let answer = session.execute(caller(), operation("a")).await;
    assert!(
        matches!(answer, Err(ClientError::Failed(Failure::NoLeader(_)))),
        "{answer:?}"
    );
    fake.nodes[0].script.requests.lock().clear();
    session
        .execute(caller(), operation("b"))
        .await
        .expect("the slot works");
    assert_eq!(fake.model.sequences(session.id())[&0], 1);
}

#[tokio::test]
async fn a_deadline_after_a_sending_that_may_have_run_is_unknown() {
    for fault in [
        Fault::Fail(FailureKind::Unknown),
        Fault::DoneButFail(FailureKind::Unknown),
    ] {
        let fake = Fake::start(1).await;
        let session = fake.open(short(8)).await;
        fake.nodes[0].on_requests(vec![fault; 1000]);
        let answer = session.execute(caller(), operation("a")).await;
        assert!(matches!(answer, Err(ClientError::Unknown(_))), "{answer:?}");
        fake.nodes[0].script.requests.lock().clear();
        session
            .execute(caller(), operation("b"))
            .await
            .expect("another slot works");
        let sequences = fake.model.sequences(session.id());
        assert_eq!(sequences[&1], 1, "not in the slot in doubt");
    }
}

#[tokio::test]
async fn a_swallowed_request_ends_unknown_at_its_deadline() {
    let fake = Fake::start(1).await;
    let session = fake.open(short(8)).await;
    fake.nodes[0].on_requests([Fault::Swallow]);
    let answer = session.execute(caller(), operation("a")).await;
    assert!(matches!(answer, Err(ClientError::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn a_session_with_too_many_slots_in_doubt_is_replaced_and_closed() {
    let fake = Fake::start(1).await;
    let session = fake.open(short(2)).await;
    let first = session.id();
    fake.nodes[0].on_requests(vec![Fault::Fail(FailureKind::Unknown); 1000]);
    let answer = session.execute(caller(), operation("a")).await;
    assert!(matches!(answer, Err(ClientError::Unknown(_))), "{answer:?}");
    fake.nodes[0].script.requests.lock().clear();
    until("a new session", || session.id() != first).await;
    until("the old one is fenced", || !fake.model.has_session(first)).await;
    session
        .execute(caller(), operation("b"))
        .await
        .expect("the new session works");
    assert_eq!(session.status().sessions_reopened, 1);
}

#[tokio::test]
async fn a_dropped_call_leaves_no_slot_in_doubt() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(1).await;
    let node = &fake.nodes[0];
    node.script.held_back.store(true, Ordering::SeqCst);
    let call = session.execute(caller(), operation("dropped"));
    let dropped = tokio::time::timeout(Duration::from_millis(100), call).await;
    assert!(dropped.is_err(), "it waits at the node");
    node.script.held_back.store(false, Ordering::SeqCst);
    node.script.release.notify_waiters();
    session
        .execute(caller(), operation("next"))
        .await
        .expect("the slot works");
    assert_eq!(fake.model.times_done("dropped"), 1);
    assert_eq!(fake.model.sequences(session.id())[&0], 2);
    fake.model.check_exactly_once();
}

#[tokio::test]
async fn no_more_operations_are_in_flight_than_slots() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(3).await;
    let node = &fake.nodes[0];
    node.script.held_back.store(true, Ordering::SeqCst);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..10 {
        let session = session.clone();
        calls.spawn(async move {
            session
                .execute(caller(), operation(&format!("op-{number}")))
                .await
        });
    }
    until("three requests at the node", || {
        fake.model.seen().requests == 3
    })
    .await;
    // A fourth would have come with the keep-alive that follows.
    session
        .query(
            caller(),
            meta_core::query::QueryBody::ReadLink {
                ino: meta_core::ids::Ino(1),
            },
        )
        .await
        .expect("queries pass");
    assert_eq!(fake.model.seen().requests, 3);
    assert_eq!(session.status().operations_in_flight, 3);
    node.script.held_back.store(false, Ordering::SeqCst);
    node.script.release.notify_waiters();
    for answer in calls.join_all().await {
        answer.expect("done");
    }
    assert_eq!(fake.model.total_done(), 10);
    assert_eq!(session.status().operations_in_flight, 0);
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::DropBefore),
        1 => Just(Fault::DropAfter),
        1 => Just(Fault::Fail(FailureKind::Unavailable)),
        1 => Just(Fault::Fail(FailureKind::Unknown)),
        1 => Just(Fault::DoneButFail(FailureKind::Unknown)),
        1 => Just(Fault::Fail(FailureKind::NotLeader)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn many_operations_are_done_exactly_once_through_any_faults(
        faults in prop::collection::vec(fault(), 0..40),
        slots in 1..9_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let fake = Arc::new(Fake::start(2).await);
            let session = fake.open_slots(slots).await;
            fake.nodes[0].on_requests(faults);
            let mut calls = tokio::task::JoinSet::new();
            for number in 0..100 {
                let session = session.clone();
                calls.spawn(async move {
                    session.execute(caller(), operation(&format!("op-{number}"))).await
                });
            }
            for answer in calls.join_all().await {
                answer.expect("done");
            }
            for number in 0..100 {
                assert_eq!(fake.model.times_done(&format!("op-{number}")), 1);
            }
            fake.model.check_exactly_once();
        });
    }
}
