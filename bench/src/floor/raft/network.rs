//! The same messages between nodes as Curlew's, without what it adds to them.

use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use proto::v1;
use proto::v1::raft_client::RaftClient;
use raft_store::wire::{self, Message};
use raft_store::{NodeId, NodeInfo, TypeConfig};
use std::future::Future;
use std::io;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

type Raft = openraft::Raft<TypeConfig, super::machine::Forgetful>;

/// Bytes of a message between peers.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Makes ways to peers.
#[derive(Debug)]
pub(super) struct Ways;

/// The way to one peer.
#[derive(Debug)]
pub(super) struct Way(Option<RaftClient<Channel>>);

impl RaftNetworkFactory<TypeConfig> for Ways {
    type Network = Way;

    async fn new_client(&mut self, _target: NodeId, node: &NodeInfo) -> Way {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.addr));
        Way(endpoint.ok().map(|endpoint| {
            RaftClient::new(endpoint.tcp_nodelay(true).connect_lazy())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        }))
    }
}

fn request<Q: Message>(message: &Q) -> Result<v1::RaftRequest, RPCError<TypeConfig>> {
    let payload = wire::encode(message).map_err(|error| NetworkError::new(&error))?;
    Ok(v1::RaftRequest {
        payload: payload.into(),
        ..v1::RaftRequest::default()
    })
}

fn answer<A: Message>(
    answered: Result<Response<v1::RaftResponse>, Status>,
) -> Result<A, RPCError<TypeConfig>> {
    let answered = answered.map_err(|status| Unreachable::new(&status))?;
    wire::decode(&answered.into_inner().payload).map_err(|error| NetworkError::new(&error).into())
}

impl Way {
    fn client(&self) -> Result<RaftClient<Channel>, Unreachable<TypeConfig>> {
        let none = || Unreachable::new(&io::Error::other("no address"));
        self.0.clone().ok_or_else(none)
    }
}

impl RaftNetworkV2<TypeConfig> for Way {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        message: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        answer(self.client()?.append(request(&message)?).await)
    }

    async fn vote(
        &mut self,
        message: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        answer(self.client()?.vote(request(&message)?).await)
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<TypeConfig>,
        _snapshot: SnapshotOf<TypeConfig, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(Unreachable::new(&io::Error::other("there are no snapshots")).into())
    }
}

/// Takes in what peers say.
#[derive(Clone)]
pub(super) struct Heard(pub(super) Raft);

fn read<Q: Message>(request: Request<v1::RaftRequest>) -> Result<Q, Status> {
    wire::decode(&request.into_inner().payload)
        .map_err(|error| Status::invalid_argument(error.to_string()))
}

fn told<A: Message>(
    answer: Result<A, impl std::fmt::Display>,
) -> Result<Response<v1::RaftResponse>, Status> {
    let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
    let payload = wire::encode(&answer).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(v1::RaftResponse {
        payload: payload.into(),
        ..v1::RaftResponse::default()
    }))
}

#[tonic::async_trait]
impl v1::raft_server::Raft for Heard {
    async fn append(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        told(self.0.append_entries(read(request)?).await)
    }

    async fn vote(
        &self,
        request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        told(self.0.vote(read(request)?).await)
    }

    async fn pre_vote(
        &self,
        _request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        Err(Status::unimplemented("nobody asks before it votes here"))
    }

    async fn transfer_leader(
        &self,
        _request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::RaftResponse>, Status> {
        Err(Status::unimplemented("leadership stays where it is"))
    }

    async fn read_index(
        &self,
        _request: Request<v1::RaftRequest>,
    ) -> Result<Response<v1::ReadIndexReply>, Status> {
        Err(Status::unimplemented("nothing is read here"))
    }

    async fn install_snapshot(
        &self,
        _request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Result<Response<v1::SnapshotDone>, Status> {
        Err(Status::unimplemented("there are no snapshots"))
    }
}
