//! The way back after more than half of a cluster's members were lost for good: one node that is left
//! becomes the only member. What it lacks is lost.

use crate::clock::{SystemClock, WallClock as _, timestamp};
use crate::config::NodeConfig;
use crate::node::identity;
use meta_core::codec::Codec as _;
use meta_core::command::{Command, CommandBody};
use meta_core::failpoint::{self, Point};
use meta_core::ids::{Level, VolumeId};
use proto::ProstCodec;
use raft_store::recover::{Left, alone, look as look_at};
use raft_store::{CommandBytes, NodeInfo, Store, StoreError, StoreOptions};
use std::fmt;
use std::sync::Arc;

/// What a node has of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    node_id: u64,
    left: Left,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Left {
            last,
            applied,
            members,
            ..
        } = &self.left;
        write!(f, "node {}: ", self.node_id)?;
        match last {
            None => write!(f, "no log"),
            Some(last) => {
                let term = last.committed_leader_id().term;
                write!(f, "newest log entry: term {term}, number {}", last.index)
            }
        }?;
        let applied = applied.as_ref().map_or(0, |applied| applied.index);
        let ids: Vec<String> = members.voter_ids().map(|id| id.to_string()).collect();
        write!(f, "; applied up to {applied}; voters {}", ids.join(", "))
    }
}

/// Looks at what the node of a configuration has. It must not run.
///
/// # Errors
/// [`StoreError`] if its store is in use, or cannot be read.
pub async fn look(config: &NodeConfig) -> Result<Found, StoreError> {
    let mut store = open(config)?;
    let left = look_at(&mut store).await?;
    let node_id = config.node_id;
    Ok(Found { node_id, left })
}

/// Makes the node of a configuration the only member of its cluster. It must not run, and the other
/// members must never run again with the data they have: those that know it by its old incarnation
/// are refused, but they could still decide among themselves.
///
/// # Errors
/// [`StoreError`] if its store is in use, cannot be read or written, or is of no member.
pub async fn recover(config: &NodeConfig) -> Result<(), StoreError> {
    let mut store = open(config)?;
    let left = look_at(&mut store).await?;
    if !left.members.voter_ids().any(|id| id == config.node_id) {
        let why = format!("node {} has no vote in its cluster", config.node_id);
        return Err(StoreError::Refused(why));
    }
    let renewed = identity::renew(&config.data_dir, config.node_id);
    let incarnation = renewed.map_err(|error| StoreError::Refused(error.to_string()))?;
    failpoint::pass(Point::RecoverRenewed);
    let addr = config.peers.get(&config.node_id).cloned();
    let info = NodeInfo {
        addr: addr.unwrap_or_else(|| config.listen.to_string()),
        incarnation,
    };
    // A new epoch, so that no id that the lost members have given is given again.
    let recovered = Command {
        volume: VolumeId::CLUSTER,
        stamp: timestamp(SystemClock.now()),
        read_level: Level(0),
        body: CommandBody::Recovered,
    };
    let recovered = CommandBytes(ProstCodec.encode_command(&recovered).into());
    alone(&mut store, config.node_id, info, recovered)
        .await
        .map(|_left| ())
}

fn open(config: &NodeConfig) -> Result<Store, StoreError> {
    let options = StoreOptions::new(config.data_dir.clone());
    if !options.dir.join("log").exists() {
        let dir = config.data_dir.display();
        return Err(StoreError::Refused(format!(
            "{dir} holds no data of a node"
        )));
    }
    raft_store::open(&options, Arc::new(ProstCodec))
}
