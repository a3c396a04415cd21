//! Queries at the nearest member.

use crate::fake::{Fake, NearestFault, caller, operation, until};
use meta_client::{
    ClientError, Failure, MetaSession, MirrorOptions, NearestStatus, ReadFrom, SessionOptions,
};
use meta_core::ids::Ino;
use meta_core::outcome::Token;
use meta_core::query::{Answer, QueryBody};
use proto::v1::FailureKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn nearest() -> SessionOptions {
    SessionOptions {
        read_from: ReadFrom::Nearest,
        leases: true,
        ..SessionOptions::default()
    }
}

fn status(session: &MetaSession) -> NearestStatus {
    session.status().nearest.expect("it reads at the nearest")
}

fn node(session: &MetaSession) -> Option<u64> {
    status(session).node.map(|(node, _addr)| node)
}

/// Three nodes of which the first leads and the last is far away, and a session that reads at the
/// second.
async fn three() -> (Fake, MetaSession) {
    let fake = Fake::start(3).await;
    fake.nodes[2].script.far_ms.store(60, Ordering::SeqCst);
    let session = fake.open(nearest()).await;
    until("a member is chosen", || node(&session).is_some()).await;
    (fake, session)
}

async fn ask(session: &MetaSession, number: u64) {
    let body = QueryBody::ReadLink { ino: Ino(number) };
    let answer = session.query(caller(), body).await;
    let expected = Answer::Bytes(number.to_be_bytes().to_vec());
    assert_eq!(answer, Ok(expected));
}

#[tokio::test]
async fn queries_go_to_the_nearest_follower_and_operations_to_the_leader() {
    let (fake, session) = three().await;
    assert_eq!(node(&session), Some(2), "equally near as the leader");
    let asked = fake.model.seen().queries;
    for number in 0..20 {
        ask(&session, number).await;
    }
    assert_eq!(fake.nodes[1].nearest_answered(), 20);
    assert_eq!(fake.model.seen().queries, asked, "the leader answers none");
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    let status = session.status();
    assert_eq!(status.leader.as_ref(), Some(&fake.nodes[0].addr));
    assert_eq!(status.leases, None, "nothing is cached");
    let status = status.nearest.expect("it reads at the nearest");
    assert_eq!(status.node, Some((2, fake.nodes[1].addr.clone())));
    assert!(status.round_trip.is_some());
    assert_eq!(status.counts.served, 20);
    assert_eq!(status.counts.behind + status.counts.unavailable, 0);
}

#[tokio::test]
async fn what_the_nearest_member_cannot_answer_the_leader_does_and_it_is_counted() {
    let (fake, session) = three().await;
    for (fault, behind, unavailable) in [
        (NearestFault::Fail(FailureKind::Behind), 1, 0),
        (NearestFault::Fail(FailureKind::Unavailable), 1, 1),
        (NearestFault::Fail(FailureKind::NotLeader), 1, 2),
        (NearestFault::Fail(FailureKind::BadRequest), 1, 3),
        (NearestFault::Swallow, 1, 4),
    ] {
        let chosen = node(&session).expect("there is one");
        let at = usize::try_from(chosen - 1).expect("a number");
        fake.nodes[at].on_nearest([fault]);
        let leaders = fake.model.seen().queries;
        ask(&session, 7).await;
        assert_eq!(fake.model.seen().queries, leaders + 1, "{fault:?}");
        let counts = status(&session).counts;
        assert_eq!((counts.behind, counts.unavailable), (behind, unavailable));
        until("another member is chosen", || {
            node(&session).is_some_and(|next| next != chosen)
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_from_before_what_the_session_has_seen_is_not_taken() {
    let (fake, session) = three().await;
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    assert_ne!(session.token(), Token::default());
    fake.nodes[1].on_nearest([NearestFault::Stale]);
    let leaders = fake.model.seen().queries;
    ask(&session, 7).await;
    assert_eq!(fake.model.seen().queries, leaders + 1);
    assert_eq!(status(&session).counts.behind, 1);
}

#[tokio::test]
async fn the_member_is_chosen_anew_when_it_fails_and_when_the_leader_changes() {
    let (fake, session) = three().await;
    // A member that ends its stream is the last choice: the leader is nearer than the third.
    fake.nodes[1].script.far_ms.store(90, Ordering::SeqCst);
    fake.nodes[1].cut();
    until("the leader is the nearest", || node(&session) == Some(1)).await;
    ask(&session, 7).await;
    // The new leader, and the one before, are equally near.
    fake.nodes[1].script.far_ms.store(0, Ordering::SeqCst);
    fake.lead(1);
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done by the next leader");
    ask(&session, 8).await;
    fake.lead(0);
    session
        .execute(caller(), operation("b"))
        .await
        .expect("done by the first leader again");
    until("a follower is chosen", || node(&session) == Some(2)).await;
}

#[tokio::test]
async fn members_that_do_not_know_the_question_are_not_asked() {
    let fake = Fake::start(2).await;
    for node in &fake.nodes {
        node.script.nearest.store(false, Ordering::SeqCst);
    }
    let session = fake.open(nearest()).await;
    ask(&session, 7).await;
    assert_eq!(node(&session), None);
    let counts = status(&session).counts;
    assert_eq!((counts.served, counts.unavailable), (0, 1));
    // They are upgraded one after the other.
    for node in &fake.nodes {
        node.script.nearest.store(true, Ordering::SeqCst);
    }
    until("a member is chosen", || node(&session) == Some(2)).await;
    ask(&session, 7).await;
    assert_eq!(status(&session).counts.served, 1);
}

#[tokio::test]
async fn nobody_reads_at_a_mirror_and_at_the_nearest_member() {
    let fake = Fake::start(1).await;
    let options = SessionOptions {
        mirror: Some(MirrorOptions {
            url: fake.url(),
            wait: Duration::ZERO,
        }),
        ..nearest()
    };
    let opened = MetaSession::open(&fake.url(), options).await;
    let refused = matches!(opened, Err(ClientError::Failed(Failure::BadRequest(_))));
    assert!(refused);
}
