//! When a leader answers without asking the others, and when a node votes.

use crate::cluster::{PATIENCE, Three, create, lookup, node, until};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::outcome::Refusal;
use meta_client::{ClientError, MetaSession, SessionOptions, transfer_leader, transport};
use meta_server::Node;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use proto::v1;
use proto::v1::raft_client::RaftClient;
use raft_store::{TypeConfig, Vote, wire};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const LEASED: &str = "lease_reads = true\n";
/// Several leases.
const LONG: Duration = Duration::from_secs(2);

async fn client(addr: &str) -> RaftClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    RaftClient::new(transport::connect(&endpoint).await.expect("connected"))
}

/// For node 1.
fn request(payload: Vec<u8>) -> v1::RaftRequest {
    v1::RaftRequest {
        target: 1,
        payload: payload.into(),
        ..v1::RaftRequest::default()
    }
}

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
    // So that it counts also if it is slow to answer.
    let leased = format!("election_max_ms = 5000\n{LEASED}");
    let three = Three::start_each([&leased, &leased, silent]).await;
    let session = three.session(SessionOptions::default()).await;
    // Before it has answered the leader once, it is in no majority.
    until("the third node is ready", async || {
        let node = three.nodes[2].as_ref().expect("it runs");
        node.not_ready().is_none()
    })
    .await;
    let mut leased = None;
    let begin = Instant::now();
    while leased != Some(lease_reads(&three)) {
        assert!(begin.elapsed() < PATIENCE, "it never answers");
        leased = Some(lease_reads(&three));
        ask(&session).await;
    }
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        ask(&session).await;
    }
    assert_eq!(Some(lease_reads(&three)), leased);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_started_takes_part_in_no_election() {
    let times = "election_min_ms = 400\nelection_max_ms = 12000\n";
    for (raft, expected) in [
        (format!("{times}{LEASED}"), Code::Unavailable),
        // It looks at what it is asked.
        (times.to_owned(), Code::InvalidArgument),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let node = node(0, listener, std::slice::from_ref(&addr), &raft).await;
        let mut client = client(&addr).await;
        let ask = request(b"nothing".to_vec());
        let vote = |term| VoteRequest::<TypeConfig>::new(Vote::new(term, 2), None);
        let question = |term| request(wire::encode(&vote(term)).expect("encoded"));
        // What a leader asks a newcomer to know what it reads.
        let known = client.pre_vote(question(0)).await.expect("answered");
        assert!(known.into_inner().receiver_generation > 1);
        let pre_vote = client.pre_vote(question(7)).await;
        if expected == Code::Unavailable {
            let status = pre_vote.expect_err("refused");
            assert_eq!(status.code(), expected, "{status}");
        } else {
            pre_vote.expect("answered");
        }
        let told = [
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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_started_is_not_ready_and_not_given_leadership() {
    let long = format!("election_max_ms = 12000\n{LEASED}");
    let mut three = Three::start_each([LEASED, LEASED, &long]).await;
    let leader = three.leader().await;
    assert_ne!(leader, 2, "it takes part in no election yet");
    let refused = transfer_leader(&three.addrs[leader], 3, PATIENCE).await;
    let error = refused.expect_err("it would not take over");
    assert!(
        error.to_string().contains("was started a moment ago"),
        "{error}"
    );
    let node = |at: usize| three.nodes[at].as_ref().expect("it runs");
    assert!(node(leader).leads(), "and goes on");
    assert!(node(2).not_ready().is_some());
    until("the others are ready", async || {
        node(0).not_ready().is_none() && node(1).not_ready().is_none()
    })
    .await;
    let other = 1 - leader;
    let stopping = three.nodes[leader].take().expect("it runs");
    stopping.shutdown().await;
    until("the other one leads", async || {
        three.nodes[other].as_ref().is_some_and(Node::leads)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_waits_until_nobody_relies_on_it() {
    let promise = Duration::from_secs(1);
    let raft = format!("election_max_ms = 1000\n{LEASED}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let node = node(0, listener, std::slice::from_ref(&addr), &raft).await;
    let heartbeat = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(7, 2),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let payload = wire::encode(&heartbeat).expect("encoded");
    let mut client = client(&addr).await;
    let sent = Instant::now();
    let told = client.append(request(payload)).await.expect("taken in");
    assert_eq!(told.into_inner().receiver_promise_ms, 1000);
    drop(client);
    node.shutdown().await;
    assert!(sent.elapsed() >= promise, "{:?}", sent.elapsed());
}
