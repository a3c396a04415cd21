//! Gives a cluster its members and its identity, once.

use super::Core;
use crate::leases::Change;
use crate::proposer::Origin;
use meta_core::attr::Timestamp;
use meta_core::command::{Command, CommandBody};
use meta_core::failpoint::{self, Point};
use meta_core::ids::{ClusterId, Level, Uuid, VolumeId};
use openraft::errors::{InitializeError, RaftError};
use proto::v1;
use proto::v1::admin_client::AdminClient;
use raft_store::{Incarnation, NodeId, NodeInfo};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Long enough for the peers to start and to elect.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Initialises the cluster from this node's `peers`. Gives its identity, and whether it had it
/// before.
pub(crate) async fn initialise(core: &Arc<Core>) -> Result<(ClusterId, bool), String> {
    let deadline = Instant::now() + LIMIT;
    if let Some(cluster) = known(core)? {
        return Ok((cluster, true));
    }
    if !core.lead().has_members {
        // A node that lost its data must not found a second cluster beside the first. One that does
        // not answer may belong to it.
        let mut members = BTreeMap::from([own(core)]);
        for (peer, status) in ask_peers(core).await {
            let Some(status) = status else {
                return Err(format!(
                    "node {peer} does not answer: start every node under peers, then run init \
                     again"
                ));
            };
            if status.initialised || !status.members.is_empty() {
                return Err(format!(
                    "node {peer} belongs to an initialised cluster already, and this node is not a \
                     member of it: `curlew-meta join` makes it one, and `curlew-meta replace` if \
                     it was one and lost its data"
                ));
            }
            let addr = core.config.peers.get(&peer).cloned().unwrap_or_default();
            let incarnation = Incarnation(status.incarnation);
            members.insert(peer, NodeInfo { addr, incarnation });
        }
        found(core, members).await?;
    }
    while Instant::now() < deadline {
        if let Some(done) = step(core).await? {
            return Ok(done);
        }
        if core.lead().leads {
            // What it could not do just now, it cannot do at once again.
            tokio::time::sleep(LOOK_INTERVAL).await;
        } else {
            let _lead = core.wait_lead(LOOK_INTERVAL, |lead| lead.leads).await;
        }
    }
    Err(
        "no leader was elected: start a majority of the nodes under peers, then run init again"
            .to_owned(),
    )
}

fn known(core: &Core) -> Result<Option<ClusterId>, String> {
    core.cluster_id().map_err(|failure| failure.message)
}

/// This node as a member.
fn own(core: &Core) -> (NodeId, NodeInfo) {
    let id = core.config.node_id;
    let addr = core.config.peers.get(&id).cloned();
    let info = NodeInfo {
        addr: addr.unwrap_or_else(|| core.config.listen.to_string()),
        incarnation: core.incarnation,
    };
    (id, info)
}

/// Writes the members into this node's log; it then stands for election.
async fn found(core: &Core, members: BTreeMap<NodeId, NodeInfo>) -> Result<(), String> {
    tracing::info!(?members, "initialising the cluster");
    let founded = core.raft.initialize(members).await;
    failpoint::pass(Point::Founded);
    match founded {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// One attempt to give the identity, here or at the leader.
async fn step(core: &Arc<Core>) -> Result<Option<(ClusterId, bool)>, String> {
    let lead = core.lead();
    if lead.leads {
        if core.reads.pass().await.is_err() {
            return Ok(None);
        }
        if let Some(cluster) = known(core)? {
            return Ok(Some((cluster, true)));
        }
        let body = CommandBody::InitCluster {
            cluster: Uuid(rand::random()),
        };
        let volume = VolumeId::CLUSTER;
        let command = Command {
            volume,
            stamp: Timestamp::default(),
            read_level: Level(0),
            body,
        };
        // Whatever the answer was, the applied state says who won.
        if let Err(failure) = core
            .proposer
            .propose(Origin::Duty, command, Change::default())
            .await
        {
            tracing::info!(%failure, "the cluster has no identity yet");
        }
        failpoint::pass(Point::Identified);
        return Ok(known(core)?.map(|cluster| (cluster, false)));
    }
    match lead.leader {
        Some((leader, addr)) if leader != core.config.node_id => {
            Ok(ask_leader(core, leader, &addr).await)
        }
        _ => Ok(None),
    }
}

async fn ask_leader(core: &Core, leader: u64, addr: &str) -> Option<(ClusterId, bool)> {
    let channel = core.channels.messages(leader, addr).ok()?;
    let asking = async move {
        AdminClient::new(channel)
            .init(v1::InitRequest {})
            .await
            .ok()
    };
    let reply = tokio::time::timeout(CALL_TIMEOUT, asking)
        .await
        .ok()??
        .into_inner();
    let id = <[u8; 16]>::try_from(reply.cluster_id.as_slice()).ok()?;
    Some((Uuid(id), reply.already))
}

/// What each peer says of itself.
async fn ask_peers(core: &Core) -> Vec<(NodeId, Option<v1::StatusReply>)> {
    let others = core
        .config
        .peers
        .iter()
        .filter(|(id, _)| **id != core.config.node_id);
    let asking = others.map(|(id, addr)| async move { (*id, ask(core, *id, addr).await) });
    futures::future::join_all(asking).await
}

/// What the node at an address says of itself.
pub(super) async fn ask(core: &Core, id: NodeId, addr: &str) -> Option<v1::StatusReply> {
    let channel = core.channels.messages(id, addr).ok()?;
    let status = async move { AdminClient::new(channel).status(v1::StatusRequest {}).await };
    let status = tokio::time::timeout(CALL_TIMEOUT, status)
        .await
        .ok()?
        .ok()?;
    Some(status.into_inner())
}
