//! One peer, as openraft sees it.

use super::channels::AddressError;
use super::{Network, append};
use crate::clock::nanoseconds;
use openraft::OptionalSend;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use proto::v1;
use proto::v1::raft_client::RaftClient;
use raft_store::wire::{self, Message};
use raft_store::{Incarnation, NodeId, SnapshotFiles, TypeConfig};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;

/// Bytes of a message between peers.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The way to one peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) network: Network,
    pub(super) target: NodeId,
    pub(super) incarnation: Incarnation,
    channel: Result<Channel, AddressError>,
}

/// Which unary call.
#[derive(Clone, Copy, Debug)]
enum Call {
    Append,
    Vote,
    PreVote,
    TransferLeader,
}

impl Call {
    const fn label(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Vote => "vote",
            Self::PreVote => "pre_vote",
            Self::TransferLeader => "transfer_leader",
        }
    }

    const fn kind(self) -> RPCTypes {
        match self {
            Self::Append => RPCTypes::AppendEntries,
            Self::Vote | Self::PreVote => RPCTypes::Vote,
            Self::TransferLeader => RPCTypes::TransferLeader,
        }
    }
}

impl Link {
    pub(super) fn new(
        network: Network,
        target: NodeId,
        incarnation: Incarnation,
        channel: Result<Channel, AddressError>,
    ) -> Self {
        Self {
            network,
            target,
            incarnation,
            channel,
        }
    }

    pub(super) fn client(&self) -> Result<RaftClient<Channel>, Unreachable<TypeConfig>> {
        match &self.channel {
            Ok(channel) => Ok(RaftClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)),
            Err(error) => Err(Unreachable::new(error)),
        }
    }

    async fn call<Q: Message, A: Message>(
        &self,
        call: Call,
        message: &Q,
        limit: Duration,
    ) -> Result<A, RPCError<TypeConfig>> {
        let answered = self.call_inner(call, message, limit).await;
        if answered.is_err() {
            self.network.metrics.peer_failure(call.label());
        }
        answered
    }

    async fn call_inner<Q: Message, A: Message>(
        &self,
        call: Call,
        message: &Q,
        limit: Duration,
    ) -> Result<A, RPCError<TypeConfig>> {
        let payload = wire::encode(message).map_err(|error| NetworkError::new(&error))?;
        let (sent, sent_at) = (self.network.wall.now(), Instant::now());
        let request = v1::RaftRequest {
            group: 0,
            sender: self.network.node_id,
            target: self.target,
            sender_clock_ns: nanoseconds(sent),
            payload: payload.into(),
            target_incarnation: self.incarnation.0,
            sender_let_in: self.network.generations.let_in(),
        };
        let mut client = self.client()?;
        let answering = async {
            match call {
                Call::Append => client.append(request).await,
                Call::Vote => client.vote(request).await,
                Call::PreVote => client.pre_vote(request).await,
                Call::TransferLeader => client.transfer_leader(request).await,
            }
        };
        let answer = match tokio::time::timeout(limit, answering).await {
            Ok(answer) => answer.map_err(|status| failed(&status))?.into_inner(),
            Err(_elapsed) => return Err(self.timeout(call.kind(), limit).into()),
        };
        let received = self.network.wall.now();
        self.network
            .clock
            .observe(self.target, sent, received, answer.receiver_clock_ns);
        self.network
            .generations
            .observe(self.target, answer.receiver_generation);
        self.network.leader_lease.observe(
            self.target,
            sent_at,
            promise(answer.receiver_promise_ms),
        );
        self.network.space.report(
            self.target,
            answer.receiver_free_bytes,
            answer.receiver_below_reserve,
        );
        wire::decode(&answer.payload).map_err(|error| NetworkError::new(&error).into())
    }

    pub(super) fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout {
            action,
            id: self.network.node_id,
            target: self.target,
            timeout,
        }
    }
}

/// What a peer says that it promises.
pub(super) fn promise(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

/// Whether to try again at once or after a pause.
pub(super) fn failed(status: &tonic::Status) -> RPCError<TypeConfig> {
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
            NetworkError::new(status).into()
        }
        _ => Unreachable::new(status).into(),
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFiles;

    async fn append_entries(
        &mut self,
        mut request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let last = append::cut(&mut request);
        let response = self
            .call(Call::Append, &request, self.network.stall)
            .await?;
        Ok(append::partial(response, last))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Call::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Call::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFiles>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sent = super::snapshot::send(self, vote, snapshot, cancel).await;
        if let Err(error) = &sent {
            self.network.metrics.peer_failure("snapshot");
            tracing::warn!(peer = self.target, %error, "a snapshot was not delivered");
        }
        sent
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Call::TransferLeader, &request, option.hard_ttl())
            .await
    }
}
