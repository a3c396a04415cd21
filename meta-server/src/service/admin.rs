//! Answers administrators: initialise, status, hand-over, snapshot.

use crate::failure::Failure;
use crate::mirror::board::Heard;
use crate::node::members::{self, MembersError};
use crate::node::{Core, handover, initialise};
use meta_core::outcome::MirrorState;
use meta_core::read::{MirrorSummary, VolumeSummary, summary};
use openraft::LogIdOptionExt as _;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use proto::v1;
use raft_store::{Incarnation, NodeInfo};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// A status reads every volume's totals; more callers wait their turn.
const STATUS_CALLS_MAX: usize = 4;
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers administrators.
#[derive(Clone, Debug)]
pub(crate) struct AdminService {
    core: Arc<Core>,
    status_calls: Arc<Semaphore>,
}

impl AdminService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            status_calls: Arc::new(Semaphore::new(STATUS_CALLS_MAX)),
        }
    }

    fn members(
        &self,
        changed: Result<(), MembersError>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        match changed {
            Ok(()) => Ok(Response::new(v1::MembersReply {
                members: members::list(&self.core),
            })),
            Err(MembersError::Refused(why)) => Err(Status::failed_precondition(why)),
            Err(MembersError::Later(why)) => Err(Status::unavailable(why)),
        }
    }

    async fn volumes(&self) -> Result<Vec<v1::VolumeStatus>, Failure> {
        let _turn = self.status_calls.acquire().await;
        let core = Arc::clone(&self.core);
        let reading = raft_store::offload(move || {
            let read = core.reader.with_view(|view| summary(view));
            read.and_then(|volumes| volumes)
                .map_err(|fatal| core.fatal(&fatal))
        });
        let volumes = reading
            .await
            .map_err(|error| Failure::unavailable(error.to_string()))??;
        let mirrors = &self.core.mirrors;
        let volumes = volumes.into_iter().map(|volume| {
            let heard = mirrors.get(volume.id, volume.token.seq, Instant::now());
            volume_status(volume, heard)
        });
        Ok(volumes.collect())
    }
}

fn volume_status(volume: VolumeSummary, heard: Heard) -> v1::VolumeStatus {
    let role = match volume.mirror {
        Some(_) => "mirror",
        None => "origin",
    };
    v1::VolumeStatus {
        id: volume.id.0,
        name: volume.name,
        uuid: volume.uuid.0.to_vec(),
        role: role.to_owned(),
        mirror: volume.mirror.map(|mirror| mirror_status(mirror, heard)),
        epoch: volume.token.epoch.0.into(),
        seq: volume.token.seq.0,
        digest: format!("{:032x}", volume.digest),
        orphans: volume.orphans,
    }
}

fn mirror_status(mirror: MirrorSummary, heard: Heard) -> v1::MirrorStatus {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    v1::MirrorStatus {
        state: mirror.state.name().to_owned(),
        following: mirror.state == MirrorState::Following,
        stopped: matches!(mirror.state, MirrorState::Stopped(_)),
        origin: mirror.origin.0.to_vec(),
        snapshot_seq: mirror.snapshot.seq.0,
        stopped_at: mirror.stopped_at.0,
        info: mirror.info,
        origin_seq: heard.origin.map(|seq| seq.0),
        heard_ms: heard.ago.map(ms),
        lag_ms: heard.lag.map(ms),
        trouble: heard.trouble,
    }
}

fn unavailable(failure: Failure) -> Status {
    Status::unavailable(failure.message)
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn init(
        &self,
        _request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitReply>, Status> {
        let (cluster, already) = initialise::initialise(&self.core)
            .await
            .map_err(Status::unavailable)?;
        Ok(Response::new(v1::InitReply {
            cluster_id: cluster.0.to_vec(),
            already,
        }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        let core = &self.core;
        let lead = core.lead();
        let cluster = core.cluster_id().map_err(unavailable)?;
        let volumes = if cluster.is_some() {
            self.volumes().await.map_err(unavailable)?
        } else {
            Vec::new()
        };
        let (leader_id, leader_addr) = lead.leader.clone().unwrap_or_default();
        let watched = core.raft.metrics();
        let raft = watched.borrow_watched().clone();
        let members = members::list(core);
        Ok(Response::new(v1::StatusReply {
            node_id: core.config.node_id,
            state: state_name(core, lead.state).to_owned(),
            leader_id,
            leader_addr,
            term: lead.term,
            applied_index: core.reader.applied().index().unwrap_or(0),
            last_log_index: raft.last_log_index.unwrap_or(0),
            snapshot_index: raft.snapshot.index().unwrap_or(0),
            free_bytes: core.space.free_bytes(),
            reserve_bytes: core.space.reserve_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            members,
            volumes,
            initialised: cluster.is_some(),
            cluster_id: cluster
                .map(|cluster| cluster.0.to_vec())
                .unwrap_or_default(),
            incarnation: core.incarnation.0,
            changing_members: raft.membership_config.membership().get_joint_config().len() > 1,
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        let to = request.into_inner().to;
        if !self.core.raft.voter_ids().any(|voter| voter == to) {
            return Err(Status::invalid_argument(format!(
                "node {to} is not a voter"
            )));
        }
        let lead = self.core.lead();
        if lead
            .leader
            .as_ref()
            .is_some_and(|(leader, _)| *leader == to)
        {
            return Ok(Response::new(v1::TransferLeaderReply {}));
        }
        if !lead.leads {
            let leader = lead
                .leader
                .map_or_else(|| "no node".to_owned(), |(_, addr)| addr);
            let message = format!("this node does not lead, {leader} does: ask there");
            return Err(Status::failed_precondition(message));
        }
        if handover::is_ready(&self.core, to).await == Some(false) {
            return Err(Status::failed_precondition(format!(
                "node {to} was started a moment ago or fails, and cannot take over yet: try again \
                 when it is ready"
            )));
        }
        if handover::transfer(&self.core, to, TRANSFER_TIMEOUT).await {
            return Ok(Response::new(v1::TransferLeaderReply {}));
        }
        Err(Status::deadline_exceeded(format!(
            "node {to} did not take over in time; look at its log and try again"
        )))
    }

    async fn add_learner(
        &self,
        request: Request<v1::AddLearnerRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        let v1::AddLearnerRequest {
            id,
            addr,
            incarnation,
        } = request.into_inner();
        let incarnation = Incarnation(incarnation);
        let node = NodeInfo { addr, incarnation };
        let added = members::add_learner(&self.core, id, node).await;
        self.members(added)
    }

    async fn promote(
        &self,
        request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        let promoted = members::promote(&self.core, request.into_inner().id).await;
        self.members(promoted)
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        let removed = members::remove(&self.core, request.into_inner().id).await;
        self.members(removed)
    }

    async fn trigger_snapshot(
        &self,
        _request: Request<v1::TriggerSnapshotRequest>,
    ) -> Result<Response<v1::TriggerSnapshotReply>, Status> {
        let triggered = self.core.raft.trigger().snapshot().await;
        triggered.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(v1::TriggerSnapshotReply {}))
    }
}

fn state_name(core: &Core, state: ServerState) -> &'static str {
    if core.failure().is_some() {
        return "poisoned";
    }
    if core.not_ready().is_some() {
        return "starting";
    }
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner | ServerState::Shutdown => "learner",
    }
}
