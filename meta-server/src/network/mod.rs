//! How the nodes of a cluster reach each other: openraft's network over tonic.
//!
//! Payloads are raft-store's own encoding and opaque to the transport. Each peer has one channel
//! for Raft messages and one for snapshots, so that bulk never delays a heartbeat; both connect
//! when first used and again after every failure. Calls are bounded by a stall timer of our own:
//! openraft's `soft_ttl` is a fraction of the heartbeat, which a slow fsync may well exceed.

mod append;
mod channels;
mod link;
mod read_index;
mod snapshot;

pub(crate) use channels::Channels;

use crate::clock::{ClockCheck, WallClock};
use crate::generations::Generations;
use crate::leader_lease::LeaderLease;
use crate::metrics::Metrics;
use crate::space::SpaceWatch;
use link::Link;
use openraft::network::RaftNetworkFactory;
use raft_store::{NodeId, NodeInfo, TypeConfig};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What all links of a node share.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) node_id: NodeId,
    pub(crate) channels: Arc<Channels>,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) clock: Arc<ClockCheck>,
    pub(crate) space: Arc<SpaceWatch>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) leader_lease: Arc<LeaderLease>,
    pub(crate) metrics: Arc<Metrics>,
    /// A call that made no progress for so long is given up.
    pub(crate) stall: Duration,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &NodeInfo) -> Link {
        let channel = self.channels.messages(target, &node.addr);
        Link::new(self.clone(), target, node.incarnation, channel)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &NodeInfo) -> Link {
        let channel = self.channels.bulk(target, &node.addr);
        Link::new(self.clone(), target, node.incarnation, channel)
    }
}
