//! What a follower answers, and what it does not.

use crate::cluster::{Stream, Three, create, lookup, until};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::outcome::Refusal;
use meta_client::meta_core::query::Answer;
use meta_client::{ClientError, ReadFrom, SessionOptions};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use proto::v1::{FailureKind, Feature};

fn nearest(query: v1::Query) -> Ask {
    Ask::NearestQuery(v1::NearestQuery { query: Some(query) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_only_what_any_member_may_answer() {
    let three = Three::start("").await;
    let leader = three.leader().await;
    let session = three.session(SessionOptions::default()).await;
    for number in 0..50 {
        let name = format!("f{number}");
        let made = session.execute(Caller::root(), create(&name)).await;
        made.expect("made");
        let follower = &three.addrs[(leader + 1 + number % 2) % 3];
        let (mut stream, hello) = Stream::open(follower).await;
        assert!(!hello.leading);
        assert_ne!(hello.features & Feature::Nearest as u64, 0);
        // What was answered before the question is seen.
        match stream.ask(nearest(three.lookup(&name))).await {
            Tell::Answer(v1::QueryAnswer {
                result: Some(v1::query_answer::Result::Answer(_)),
                ..
            }) => {}
            other => panic!("{name}: {other:?}"),
        }
        match stream.ask(Ask::Query(three.lookup(&name))).await {
            Tell::Failure(failure) => assert_eq!(failure.kind(), FailureKind::NotLeader),
            other => panic!("{other:?}"),
        }
    }
    let (mut stream, hello) = Stream::open(&three.addrs[leader]).await;
    assert!(hello.leading);
    let told = stream.ask(nearest(three.lookup("f7"))).await;
    assert!(matches!(told, Tell::Answer(_)), "a leader too: {told:?}");
    let told = stream.ask(Ask::NearestQuery(v1::NearestQuery::default()));
    match told.await {
        Tell::Failure(failure) => assert_eq!(failure.kind(), FailureKind::BadRequest),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_cannot_ask_the_leader_does_not_answer() {
    let mut three = Three::start("").await;
    let leader = three.leader().await;
    let follower = (leader + 1) % 3;
    let (mut stream, _hello) = Stream::open(&three.addrs[follower]).await;
    let query = nearest(three.lookup("nothing"));
    let told = stream.ask(query.clone()).await;
    assert!(matches!(told, Tell::Answer(_)), "{told:?}");
    for at in [leader, (leader + 2) % 3] {
        let node = three.nodes[at].take().expect("it runs");
        node.abandon().await;
    }
    // Its state is what it was, and nobody can say whether that is still all there is.
    match stream.ask(query).await {
        Tell::Failure(failure) => assert_eq!(failure.kind(), FailureKind::Unavailable),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_own_writes_and_those_of_others_at_a_follower() {
    let three = Three::start("").await;
    let options = SessionOptions {
        read_from: ReadFrom::Nearest,
        ..SessionOptions::default()
    };
    let (session, other) = (
        three.session(options).await,
        three.session(SessionOptions::default()).await,
    );
    let status = || session.status().nearest.expect("it reads at the nearest");
    until("a member is chosen", async || status().node.is_some()).await;
    let before = status().counts;
    for number in 0..100 {
        let (writer, name) = match number % 2 {
            0 => (&session, format!("own{number}")),
            _ => (&other, format!("other{number}")),
        };
        let absent = session.query(Caller::root(), lookup(&name)).await;
        assert_eq!(absent, Err(ClientError::Refused(Refusal::NotFound)));
        let made = writer.execute(Caller::root(), create(&name)).await;
        made.expect("made");
        let found = session.query(Caller::root(), lookup(&name)).await;
        assert!(matches!(found, Ok(Answer::Attr(_))), "{name}: {found:?}");
    }
    let counts = status().counts;
    assert!(counts.served > before.served, "{counts:?}");
    let fallbacks = counts.behind + counts.unavailable;
    assert_eq!(counts.served + fallbacks - before.unavailable, 200);
}
