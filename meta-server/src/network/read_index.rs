//! Asks the leader how far a follower must be to answer reads.

use super::Network;
use super::link::Link;
use crate::clock::nanoseconds;
use crate::failure::Failure;
use crate::reads::Place;
use proto::v1;
use raft_store::{NodeId, NodeInfo};
use std::time::Duration;

impl Network {
    /// Up to where the log must be applied for a view to show everything that was answered
    /// before the call.
    pub(crate) async fn read_index(
        &self,
        leader: NodeId,
        node: &NodeInfo,
        limit: Duration,
    ) -> Result<Place, Failure> {
        let channel = self.channels.messages(leader, &node.addr);
        let link = Link::new(self.clone(), leader, node.incarnation, channel);
        let told = tokio::time::timeout(limit, ask(&link)).await;
        let told = told.unwrap_or_else(|_elapsed| Err("it does not answer".to_owned()));
        told.map_err(|why| {
            self.metrics.peer_failure("read_index");
            Failure::unavailable(format!(
                "the leader, node {leader}, was asked in vain: {why}"
            ))
        })
    }
}

async fn ask(link: &Link) -> Result<Place, String> {
    let network = &link.network;
    let sent = network.wall.now();
    let request = v1::RaftRequest {
        group: 0,
        sender: network.node_id,
        target: link.target,
        sender_clock_ns: nanoseconds(sent),
        payload: Vec::new().into(),
        target_incarnation: link.incarnation.0,
        sender_let_in: 0,
    };
    let mut client = link.client().map_err(|error| error.to_string())?;
    // A leader of an earlier build does not know the question, and says so.
    let answer = client.read_index(request).await;
    let answer = answer
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let (clock, received) = (&network.clock, network.wall.now());
    clock.observe(link.target, sent, received, answer.receiver_clock_ns);
    let v1::ReadIndexReply { term, index, .. } = answer;
    Ok(Place { term, index })
}
