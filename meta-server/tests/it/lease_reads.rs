//! When a leader answers without asking the others, and when a node votes.

use crate::cluster::{PATIENCE, Three, create, lookup, node};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::outcome::Refusal;
use meta_client::{ClientError, MetaSession, SessionOptions, transport};
use meta_server::Node;
use proto::v1;
use proto::v1::raft_client::RaftClient;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Endpoint;

const LEASED: &str = "lease_reads = true\n";
/// Several leases.
const LONG: Duration = Duration::from_secs(2);

async fn ask(session: &MetaSession) {
    let found = session.query(Caller::root(), lookup("nothing")).await;
    let is_missing = matches!(found, Err(ClientError::Refused(Refusal::NotFound)));
    assert!(is_missing, "{found:?}");
}

fn lease_reads(three: &Three) -> u64 {
    let nodes = three.nodes.iter().flatten();
    nodes.map(Node::lease_reads).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_answers_under_its_lease_and_its_successor_too() {
    let mut three = Three::start(LEASED).await;
    let session = three.session(SessionOptions::default()).await;
    for number in 0..2 {
        let leader = three.leader().await;
        let begin = Instant::now();
        while lease_reads(&three) == 0 {
            assert!(begin.elapsed() < PATIENCE, "no read under a lease");
            ask(&session).await;
        }
        let name = format!("f{number}");
        let made = session.execute(Caller::root(), create(&name)).await;
        made.expect("made");
        let found = session.query(Caller::root(), lookup(&name)).await;
        found.expect("what was made is seen");
        if number == 0 {
            let node = three.nodes[leader].take().expect("it runs");
            node.abandon().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_member_promises_nothing_no_leader_has_a_lease() {
    // So that it does not lead itself.
    let silent = "election_min_ms = 50000\nelection_max_ms = 60000\n";
    let three = Three::start_each([LEASED, LEASED, silent]).await;
    let session = three.session(SessionOptions::default()).await;
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        ask(&session).await;
    }
    assert_eq!(lease_reads(&three), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_started_takes_part_in_no_election() {
    let times = "election_min_ms = 400\nelection_max_ms = 60000\n";
    for (raft, expected) in [
        (format!("{times}{LEASED}"), Code::Unavailable),
        // It looks at what it is asked.
        (times.to_owned(), Code::InvalidArgument),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let node = node(0, listener, std::slice::from_ref(&addr), &raft).await;
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
        let channel = transport::connect(&endpoint).await.expect("connected");
        let mut client = RaftClient::new(channel);
        let ask = v1::RaftRequest {
            target: 1,
            payload: b"nothing".as_slice().into(),
            ..v1::RaftRequest::default()
        };
        let told = [
            client.pre_vote(ask.clone()).await,
            client.vote(ask.clone()).await,
            client.transfer_leader(ask.clone()).await,
        ];
        for told in told {
            let status = told.expect_err("refused");
            assert_eq!(status.code(), expected, "{status}");
        }
        let status = client.append(ask).await.expect_err("no entries");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        node.abandon().await;
    }
}
