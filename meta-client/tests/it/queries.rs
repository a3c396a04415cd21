//! Queries and their tokens.

use crate::fake::{Fake, Fault, caller, operation};
use meta_client::{ClientError, Failure, SessionOptions};
use meta_core::ids::{ChunkIndex, Ino, Seq};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody, SliceCursor};
use proto::v1::FailureKind;
use std::time::Duration;

fn link(number: u64) -> QueryBody {
    QueryBody::ReadLink { ino: Ino(number) }
}

#[tokio::test]
async fn answers_come_to_those_who_asked() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..500_u64 {
        let session = session.clone();
        asking.spawn(async move { (number, session.query(caller(), link(number)).await) });
    }
    for (number, answer) in asking.join_all().await {
        assert_eq!(answer, Ok(Answer::Bytes(number.to_be_bytes().to_vec())));
    }
}

#[tokio::test]
async fn queries_are_asked_again_until_they_are_answered() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    fake.nodes[0].on_others([
        Fault::DropBefore,
        Fault::Fail(FailureKind::Unavailable),
        Fault::Fail(FailureKind::Overloaded),
        Fault::Fail(FailureKind::Unknown),
        Fault::Fail(FailureKind::NotLeader),
        Fault::DropAfter,
    ]);
    session
        .query(caller(), link(1))
        .await
        .expect("answered in the end");
    assert!(session.status().retries >= 6);
}

#[tokio::test]
async fn a_refused_query_is_refused() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let answer = session
        .query(caller(), QueryBody::GetAttr { ino: Ino(1) })
        .await;
    assert_eq!(answer, Err(ClientError::Refused(Refusal::NotFound)));
    let (from, end) = (SliceCursor::default(), ChunkIndex(0));
    let answer = session
        .query(
            caller(),
            QueryBody::ReadSlices {
                ino: Ino(1),
                from,
                end,
            },
        )
        .await;
    assert_eq!(answer, Err(ClientError::Refused(Refusal::InvalidArgument)));
}

#[tokio::test]
async fn a_query_gives_up_at_its_deadline() {
    let fake = Fake::start(1).await;
    let retry_for = Some(Duration::from_millis(200));
    let session = fake
        .open(SessionOptions {
            retry_for,
            ..SessionOptions::default()
        })
        .await;
    fake.nodes[0].on_others(vec![Fault::Fail(FailureKind::Overloaded); 1000]);
    let answer = session.query(caller(), link(1)).await;
    assert!(
        matches!(answer, Err(ClientError::Failed(Failure::Overloaded(_)))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_newest_token_is_kept() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    assert_eq!(session.token().seq, Seq(0));
    session
        .execute(caller(), operation("a"))
        .await
        .expect("done");
    session
        .execute(caller(), operation("b"))
        .await
        .expect("done");
    assert_eq!(session.token().seq, Seq(2));
    let other = fake.open_slots(4).await;
    other.execute(caller(), operation("c")).await.expect("done");
    session.query(caller(), link(1)).await.expect("answered");
    assert_eq!(session.token().seq, Seq(3));
}

#[tokio::test]
async fn what_the_wire_cannot_carry_is_refused_as_the_engine_would() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let long = QueryBody::GetXattr {
        ino: Ino(1),
        name: vec![b'n'; 256],
    };
    let answer = session.query(caller(), long).await;
    assert_eq!(answer, Err(ClientError::Refused(Refusal::NameTooLong)));
    let large = meta_core::command::Operation::SetXattr {
        ino: Ino(1),
        name: b"user.a".to_vec(),
        value: vec![0; 65_537],
        mode: meta_core::command::XattrMode::Set,
    };
    let answer = session.execute(caller(), large).await;
    assert_eq!(
        answer,
        Err(ClientError::Refused(Refusal::AttributeTooLarge))
    );
    assert_eq!(fake.model.seen().requests, 0);
}
