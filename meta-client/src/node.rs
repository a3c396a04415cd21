//! What can be asked of one node, whether or not it leads.

use crate::endpoint;
use crate::error::{ClientError, Failure};
use meta_core::ids::Uuid;
use proto::v1;
use std::future::Future;
use std::time::Duration;
use tonic::{Code, Response, Status};

/// What a node says about itself and its cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeStatus {
    /// The node.
    pub node_id: u64,
    /// `leader`, `follower`, `candidate`, `learner`, `starting` or `poisoned`.
    pub state: String,
    /// Who leads, as far as it knows.
    pub leader_id: Option<u64>,
    /// Where the leader listens, as far as it knows; else empty.
    pub leader_addr: String,
    /// Its Raft term.
    pub term: u64,
    /// The last log index that it applied.
    pub applied_index: u64,
    /// The last log index that it has.
    pub last_log_index: u64,
    /// The last log index in its newest snapshot.
    pub snapshot_index: u64,
    /// Free bytes of its disk.
    pub free_bytes: u64,
    /// Below this many it refuses what grows.
    pub reserve_bytes: u64,
    /// Its program's version.
    pub version: String,
    /// The cluster's nodes.
    pub members: Vec<Member>,
    /// The cluster's volumes, as it has applied them.
    pub volumes: Vec<VolumeStatus>,
    /// The cluster's identity, once it has one.
    pub cluster_id: Option<Uuid>,
    /// Whether the cluster has its identity.
    pub initialised: bool,
    /// Which data it has; another number after they were lost.
    pub incarnation: u64,
    /// Whether a change of the members was begun and has not ended.
    pub changing_members: bool,
}

/// A node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// The node.
    pub id: u64,
    /// Where it listens.
    pub addr: String,
    /// The data that it must have; 0 if any will do.
    pub incarnation: u64,
    /// Whether it decides with the others.
    pub voter: bool,
}

/// A volume as one node has applied it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeStatus {
    /// Its number in this cluster.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its name for ever.
    pub uuid: Uuid,
    /// `origin` or `mirror`.
    pub role: String,
    /// The current epoch.
    pub epoch: u32,
    /// The last change.
    pub seq: u64,
    /// The digest of its rows, as hex.
    pub digest: String,
    /// Files without names that are still held open.
    pub orphans: u64,
    /// If it follows another cluster.
    pub mirror: Option<MirrorStatus>,
}

/// How a mirror follows its origin, as one of its nodes knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MirrorStatus {
    /// `loading`, `following`, `needs resync` or `stopped: ` and why.
    pub state: String,
    /// Whether it applies its origin's records as they come.
    pub following: bool,
    /// Whether it stopped for good, for the reason that `state` names.
    pub stopped: bool,
    /// The cluster that it follows.
    pub origin: Uuid,
    /// The snapshot that it was loaded from, or is being loaded.
    pub snapshot_seq: u64,
    /// The record that stopped it; 0 if it is not stopped, or stopped before it had any.
    pub stopped_at: u64,
    /// Where the origin is and what the mirror is called there: JSON.
    pub info: Vec<u8>,
    /// What the mirror's leader heard of the origin's newest record last.
    pub origin_seq: Option<u64>,
    /// How long ago it heard that.
    pub heard_ms: Option<u64>,
    /// Since when records are missing here, as far as is known; 0 if none are.
    pub lag_ms: Option<u64>,
    /// Why there is no stream from the origin; else empty.
    pub trouble: String,
}

/// The answer to [`init`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initialised {
    /// The cluster's identity.
    pub cluster_id: Uuid,
    /// It had one before.
    pub already: bool,
}

/// Asks a node for its status.
///
/// # Errors
/// If the node does not answer within `timeout`.
pub async fn node_status(addr: &str, timeout: Duration) -> Result<NodeStatus, ClientError> {
    let reply = call(addr, timeout, async |mut client| {
        client.status(v1::StatusRequest {}).await
    });
    status(reply.await?).map_err(ClientError::Failed)
}

/// Gives a cluster its members and its identity. Safe to repeat.
///
/// # Errors
/// If the node refuses or does not answer within `timeout`.
pub async fn init(addr: &str, timeout: Duration) -> Result<Initialised, ClientError> {
    let reply = call(addr, timeout, async |mut client| {
        client.init(v1::InitRequest {}).await
    });
    let v1::InitReply {
        cluster_id,
        already,
    } = reply.await?;
    Ok(Initialised {
        cluster_id: uuid(&cluster_id)?,
        already,
    })
}

/// Asks a leader to hand its leadership to the voter `to`.
///
/// # Errors
/// If the node refuses or does not answer within `timeout`.
pub async fn transfer_leader(addr: &str, to: u64, timeout: Duration) -> Result<(), ClientError> {
    let request = v1::TransferLeaderRequest { to };
    let reply = call(addr, timeout, async |mut client| {
        client.transfer_leader(request).await
    });
    reply.await.map(|v1::TransferLeaderReply {}| ())
}

/// Asks a node to write a snapshot now.
///
/// # Errors
/// If the node refuses or does not answer within `timeout`.
pub async fn trigger_snapshot(addr: &str, timeout: Duration) -> Result<(), ClientError> {
    let request = v1::TriggerSnapshotRequest {};
    let reply = call(addr, timeout, async |mut client| {
        client.trigger_snapshot(request).await
    });
    reply.await.map(|v1::TriggerSnapshotReply {}| ())
}

type Client = v1::admin_client::AdminClient<tonic::transport::Channel>;

async fn call<T, F>(
    addr: &str,
    timeout: Duration,
    ask: impl FnOnce(Client) -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let work = async {
        let channel = endpoint::connect(addr).await?;
        ask(endpoint::admin(channel))
            .await
            .map_err(|status| failure(addr, &status))
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => {
            let message = format!("{addr} within {} ms", timeout.as_millis());
            Err(Failure::TimedOut(message).into())
        }
    }
}

fn failure(addr: &str, status: &Status) -> Failure {
    let message = format!("{addr}: {}", status.message());
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound => {
            Failure::BadRequest(message)
        }
        Code::ResourceExhausted => Failure::Overloaded(message),
        Code::Unimplemented => Failure::VersionMismatch(message),
        Code::DeadlineExceeded => Failure::TimedOut(message),
        _ => Failure::Unreachable(message),
    }
}

fn uuid(bytes: &[u8]) -> Result<Uuid, Failure> {
    let id = bytes.try_into().map(Uuid);
    id.map_err(|_| Failure::BadReply(format!("an identity of {} bytes", bytes.len())))
}

/// Converts a status, also for the search for a leader.
fn status(reply: v1::StatusReply) -> Result<NodeStatus, Failure> {
    let v1::StatusReply {
        node_id,
        state,
        leader_id,
        leader_addr,
        term,
        applied_index,
        last_log_index,
        snapshot_index,
        free_bytes,
        reserve_bytes,
        version,
        members,
        volumes,
        cluster_id,
        initialised,
        incarnation,
        changing_members,
    } = reply;
    let members = members.into_iter().map(|member| Member {
        id: member.id,
        addr: member.addr,
        incarnation: member.incarnation,
        voter: member.voter,
    });
    let cluster_id = if cluster_id.is_empty() {
        None
    } else {
        Some(uuid(&cluster_id)?)
    };
    Ok(NodeStatus {
        node_id,
        state,
        leader_id: Some(leader_id).filter(|id| *id != 0),
        leader_addr,
        term,
        applied_index,
        last_log_index,
        snapshot_index,
        free_bytes,
        reserve_bytes,
        version,
        members: members.collect(),
        volumes: volumes.into_iter().map(volume).collect::<Result<_, _>>()?,
        cluster_id,
        initialised,
        incarnation,
        changing_members,
    })
}

fn volume(message: v1::VolumeStatus) -> Result<VolumeStatus, Failure> {
    let v1::VolumeStatus {
        id,
        name,
        uuid: bytes,
        role,
        epoch,
        seq,
        digest,
        orphans,
        mirror,
    } = message;
    Ok(VolumeStatus {
        id,
        name,
        uuid: uuid(&bytes)?,
        role,
        epoch,
        seq,
        digest,
        orphans,
        mirror: mirror.map(mirror_status).transpose()?,
    })
}

fn mirror_status(message: v1::MirrorStatus) -> Result<MirrorStatus, Failure> {
    let v1::MirrorStatus {
        state,
        following,
        origin,
        snapshot_seq,
        stopped_at,
        info,
        origin_seq,
        heard_ms,
        lag_ms,
        trouble,
        stopped,
    } = message;
    Ok(MirrorStatus {
        state,
        following,
        stopped,
        origin: uuid(&origin)?,
        snapshot_seq,
        stopped_at,
        info,
        origin_seq,
        heard_ms,
        lag_ms,
        trouble,
    })
}
