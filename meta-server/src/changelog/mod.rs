//! The changelog service: a volume's records for whoever follows it, its rows for whoever begins
//! to, and hashes of its rows for whoever compares. It has connections and bounds of its own, so
//! that a slow follower holds up no client.

mod follow;
pub(crate) mod followers;
mod load;

use crate::failure::{Failure, FailureKind};
use crate::node::Core;
use follow::FollowStream;
use futures::Stream;
use load::LoadStream;
use meta_core::ids::{Epoch, Seq, VolumeId};
use meta_core::outcome::{Fatal, Token};
use meta_core::query::{Answer, QueryBody, VolumeInfo};
use proto::limits::{CHANGELOG_VERSION_MAX, CHANGELOG_VERSION_MIN};
use proto::v1;
use proto::v1::FollowEndKind;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

/// Followers of one node.
const STREAMS_MAX: usize = 256;
/// Snapshots sent at a time: each keeps RocksDB from dropping what was replaced since it began.
const LOADS_MAX: usize = 4;
/// Frames that wait for a slow follower, of about 2 MiB and one record or row at most.
const FRAMES_AHEAD: usize = 4;
/// Rows hashed by one call.
const HASH_ROWS_MAX: u64 = 1 << 20;

/// Serves changelogs.
#[derive(Clone)]
pub(crate) struct ChangelogService {
    core: Arc<Core>,
    streams: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for ChangelogService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangelogService").finish_non_exhaustive()
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::CheckedFrame, Status>> + Send>>;

impl ChangelogService {
    /// Streams run in `tasks` until `stop`.
    pub(crate) fn new(core: Arc<Core>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            core,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            tasks,
            stop,
        }
    }
}

fn permit(of: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(of)
        .try_acquire_owned()
        .map_err(|_| Status::resource_exhausted(format!("this node sends too many {what} already")))
}

fn channel() -> (mpsc::Sender<v1::CheckedFrame>, Response<Frames>) {
    let (out, frames) = mpsc::channel(FRAMES_AHEAD);
    let frames: Frames = Box::pin(ReceiverStream::new(frames).map(Ok));
    (out, Response::new(frames))
}

#[tonic::async_trait]
impl v1::changelog_server::Changelog for ChangelogService {
    type FollowStream = Frames;
    type LoadStream = Frames;

    async fn follow(
        &self,
        request: Request<v1::FollowRequest>,
    ) -> Result<Response<Frames>, Status> {
        let permit = permit(&self.streams, "changelogs")?;
        let (out, response) = channel();
        let core = Arc::clone(&self.core);
        let stream = FollowStream::new(core, request.into_inner(), out, self.stop.clone());
        self.tasks.spawn(async move {
            stream.run().await;
            drop(permit);
        });
        Ok(response)
    }

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<Frames>, Status> {
        let permit = permit(&self.loads, "snapshots")?;
        let (out, response) = channel();
        let core = Arc::clone(&self.core);
        let stream = LoadStream::new(core, request.into_inner(), out, self.stop.clone());
        self.tasks.spawn(async move {
            stream.run().await;
            drop(permit);
        });
        Ok(response)
    }

    async fn hash_rows(
        &self,
        request: Request<v1::HashRowsRequest>,
    ) -> Result<Response<v1::HashRowsReply>, Status> {
        let v1::HashRowsRequest {
            volume,
            mark,
            after,
            through,
            rows_max,
        } = request.into_inner();
        let volume = find(&self.core, &volume).await.map_err(|end| {
            let message = end.message;
            match FollowEndKind::try_from(end.kind) {
                Ok(FollowEndKind::UnknownVolume) => Status::failed_precondition(message),
                _ => Status::unavailable(message),
            }
        })?;
        let mark = mark_token(mark)?;
        let rows_max = rows_max.clamp(1, HASH_ROWS_MAX);
        let hashed = self
            .core
            .reader
            .with_marked_view(volume.id, mark, move |view| {
                let head = meta_core::read::snapshot_head(view, volume.id)?;
                let head = head.ok_or(Fatal::Invariant("a marked volume has no head"))?;
                let hash = meta_core::read::rows_hash(view, volume.id, &after, &through, rows_max)?;
                Ok((head.digest, hash))
            });
        let Some(hashed) = hashed.await else {
            return Err(Status::not_found(
                "the rows as of that mark are not kept here, or not any more",
            ));
        };
        let (digest, found) =
            hashed.map_err(|fatal| Status::unavailable(self.core.fatal(&fatal).message))?;
        Ok(Response::new(v1::HashRowsReply {
            through: found.through,
            rows: found.rows,
            hash: found.hash.to_le_bytes().to_vec(),
            end: found.end,
            digest: digest.to_le_bytes().to_vec(),
        }))
    }
}

fn mark_token(mark: Option<v1::Token>) -> Result<Token, Status> {
    let mark = mark.ok_or_else(|| Status::invalid_argument("no mark is given"))?;
    let epoch = u16::try_from(mark.epoch)
        .map_err(|_| Status::invalid_argument("the epoch is past its limit"))?;
    Ok(Token {
        epoch: Epoch(epoch),
        seq: Seq(mark.seq),
    })
}

fn end(kind: FollowEndKind, message: impl Into<String>) -> v1::FollowEnd {
    v1::FollowEnd {
        kind: kind.into(),
        message: message.into(),
        leader_addr: String::new(),
    }
}

/// What a failure means for a stream.
fn failed(failure: Failure) -> v1::FollowEnd {
    match failure.kind {
        FailureKind::NotLeader(addr) => v1::FollowEnd {
            kind: FollowEndKind::NotLeader.into(),
            message: failure.message,
            leader_addr: addr.unwrap_or_default(),
        },
        _ => end(FollowEndKind::Unavailable, failure.message),
    }
}

fn check_version(min: u32, max: u32) -> Result<u32, v1::FollowEnd> {
    let version = max.min(CHANGELOG_VERSION_MAX);
    if version >= min.max(CHANGELOG_VERSION_MIN) {
        return Ok(version);
    }
    let message = format!(
        "this node speaks versions {CHANGELOG_VERSION_MIN} to {CHANGELOG_VERSION_MAX} of the \
         changelog's streams, the follower {min} to {max}"
    );
    Err(end(FollowEndKind::UnsupportedVersion, message))
}

/// Only who leads knows how far the volume is.
async fn check_leading(core: &Core) -> Result<(), v1::FollowEnd> {
    core.check_leading().map_err(failed)?;
    core.reads.pass().await.map_err(failed)?;
    core.check_initialised().map_err(failed)
}

async fn find(core: &Arc<Core>, name: &str) -> Result<VolumeInfo, v1::FollowEnd> {
    let query = meta_core::query::Query {
        volume: VolumeId::CLUSTER,
        caller: meta_core::attr::Caller::root(),
        body: QueryBody::FindVolume {
            name: name.to_owned(),
        },
    };
    match core.answer(query).await.map_err(failed)? {
        (_, Ok(Answer::Volume(info))) => Ok(info),
        (_, Ok(_)) => Err(end(
            FollowEndKind::Unavailable,
            "the answer to a look for a volume is of another kind",
        )),
        (_, Err(meta_core::outcome::Refusal::UnknownVolume)) => Err(end(
            FollowEndKind::UnknownVolume,
            format!("no volume is called {name}"),
        )),
        (_, Err(refusal)) => Err(end(FollowEndKind::Unavailable, refusal.to_string())),
    }
}
