//! Takes in what peers say: votes, appends, snapshots, hand-overs.

use super::snapshot_intake;
use crate::clock::nanoseconds;
use crate::failure::Failure;
use crate::generations;
use crate::node::Core;
use crate::reads::Place;
use openraft::raft::VoteRequest;
use proto::v1;
use raft_store::wire::{self, Message};
use raft_store::{Incarnation, TypeConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

/// Answers peers.
#[derive(Clone, Debug)]
pub(crate) struct RaftService {
    core: Arc<Core>,
    /// One snapshot is received at a time.
    intake: Arc<Semaphore>,
    /// A peer meant a member that this node is not any more; that was told.
    stranger: Arc<AtomicBool>,
}

impl RaftService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            intake: Arc::new(Semaphore::new(1)),
            stranger: Arc::default(),
        }
    }

    /// Checks that a message is meant for this node, and reads it.
    fn take_in<Q: Message>(&self, request: Request<v1::RaftRequest>) -> Result<Q, Status> {
        let request = request.into_inner();
        let data = Incarnation(request.target_incarnation);
        self.check_target(request.group, request.target, data)?;
        self.core
            .learn_let_in(request.sender, request.sender_let_in);
        wire::decode(&request.payload).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    fn check_target(&self, group: u32, target: u64, data: Incarnation) -> Result<(), Status> {
        let own = self.core.config.node_id;
        if group != 0 || target != own {
            return Err(Status::failed_precondition(format!(
                "this is node {own}, and the message is for node {target} of group {group}; \
                 check the addresses under peers"
            )));
        }
        if !data.admits(self.core.incarnation) {
            // Its data may lack what it has acknowledged, so it neither votes nor takes part.
            if !self.stranger.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "peers know this node by other data than it has: if those are lost, \
                     `curlew-meta replace` makes it a member anew"
                );
            }
            return Err(Status::failed_precondition(format!(
                "node {own} has not the data that it was a member with: if they are lost, \
                 `curlew-meta replace` makes it a member anew"
            )));
        }
        Ok(())
    }

    /// Refuses to take part in an election soon after the start, also in one that a leader asked for.
    fn check_quarantine(&self) -> Result<(), Status> {
        if self.core.leader_lease.is_quarantined() {
            let message = "this node was started a moment ago, and takes part in no election yet";
            return Err(Status::unavailable(message));
        }
        Ok(())
    }

    fn promise_ms(&self) -> u32 {
        u32::try_from(self.core.leader_lease.promised().as_millis()).unwrap_or(u32::MAX)
    }

    fn answer<A: Message>(&self, answer: &A) -> Result<Response<v1::RaftResponse>, Status> {
        let payload = wire::encode(answer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::RaftResponse {
            receiver_clock_ns: nanoseconds(self.core.wall.now()),
            payload: payload.into(),
            receiver_free_bytes: self.core.space.free_bytes(),
            receiver_below_reserve: self.core.space.below_reserve(),
            receiver_generation: generations::NEWEST,
            receiver_promise_ms: self.promise_ms(),
        }))
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("the node is stopping: {error}"))
}

#[tonic::async_trait]
impl v1::raft_server::Raft for RaftService {
    async fn append(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        let request = self.take_in(request)?;
        let taken_in = self.core.raft.append_entries(request).await;
        let answer = taken_in.map_err(stopped)?;
        self.core.leader_lease.give();
        self.answer(&answer)
    }

    async fn vote(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        self.check_quarantine()?;
        let request = self.take_in(request)?;
        self.answer(&self.core.raft.vote(request).await.map_err(stopped)?)
    }

    async fn pre_vote(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        let request: VoteRequest<TypeConfig> = self.take_in(request)?;
        // Nobody is elected in term 0: so a leader asks a newcomer what it knows.
        if request.vote.leader_id.term > 0 {
            self.check_quarantine()?;
        }
        self.answer(&self.core.raft.pre_vote(request).await.map_err(stopped)?)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        self.check_quarantine()?;
        let request = self.take_in(request)?;
        self.answer(
            &self
                .core
                .raft
                .handle_transfer_leader(request)
                .await
                .map_err(stopped)?,
        )
    }

    async fn read_index(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::ReadIndexReply>, Status> {
        let request = request.into_inner();
        let data = Incarnation(request.target_incarnation);
        self.check_target(request.group, request.target, data)?;
        let core = &self.core;
        let unavailable = |failure: Failure| Status::unavailable(failure.to_string());
        core.check_leading().map_err(unavailable)?;
        let Place { term, index } = core.reads.index().await.map_err(unavailable)?;
        Ok(Response::new(v1::ReadIndexReply {
            receiver_clock_ns: nanoseconds(core.wall.now()),
            index,
            term,
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Result<Response<v1::SnapshotDone>, Status> {
        let Ok(_only) = self.intake.try_acquire() else {
            return Err(Status::aborted("this node is receiving another snapshot"));
        };
        let mut parts = request.into_inner();
        let head = snapshot_intake::head(&mut parts).await?;
        let data = Incarnation(head.target_incarnation);
        self.check_target(head.group, head.target, data)?;
        let answer = snapshot_intake::receive(&self.core, &head, parts).await?;
        self.core.leader_lease.give();
        let payload = wire::encode(&answer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::SnapshotDone {
            receiver_clock_ns: nanoseconds(self.core.wall.now()),
            payload: payload.into(),
            receiver_promise_ms: self.promise_ms(),
        }))
    }
}
