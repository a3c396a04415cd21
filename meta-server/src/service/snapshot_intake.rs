//! Receives a snapshot: every chunk is checked and written as it comes, and only a complete one is
//! installed. A stream that stops moving is given up; its files go with it.

use crate::node::Core;
use openraft::raft::SnapshotResponse;
use proto::v1;
use proto::v1::snapshot_part::Part;
use raft_store::wire::{self, SnapshotHeader};
use raft_store::{SnapshotChunk, SnapshotReceiver, StoreError, TypeConfig};
use std::time::Duration;
use tonic::{Status, Streaming};

/// Between two parts at most.
const STALL: Duration = Duration::from_secs(30);

/// The first part.
pub(super) async fn head(
    parts: &mut Streaming<v1::SnapshotPart>,
) -> Result<v1::SnapshotHead, Status> {
    match next(parts).await? {
        Some(Part::Head(head)) => Ok(head),
        _ => Err(Status::invalid_argument("a snapshot begins with its head")),
    }
}

async fn next(parts: &mut Streaming<v1::SnapshotPart>) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(STALL, parts.message()).await {
        Ok(message) => Ok(message?.and_then(|message| message.part)),
        Err(_elapsed) => Err(Status::deadline_exceeded(
            "the snapshot's sender went silent",
        )),
    }
}

/// Everything behind the head.
pub(super) async fn receive(
    core: &Core,
    head: &v1::SnapshotHead,
    mut parts: Streaming<v1::SnapshotPart>,
) -> Result<SnapshotResponse<TypeConfig>, Status> {
    let header: SnapshotHeader =
        wire::decode(&head.payload).map_err(|error| Status::invalid_argument(error.to_string()))?;
    tracing::info!(from = head.sender, meta = %header.meta, "receiving a snapshot");
    let reader = core.reader.clone();
    let mut receiver = on_disk(move || SnapshotReceiver::begin(&reader)).await?;
    let mut count = 0;
    let announced = loop {
        match next(&mut parts).await? {
            Some(Part::Chunk(chunk)) => {
                let chunk = SnapshotChunk {
                    file: chunk.file,
                    offset: chunk.offset,
                    data: chunk.data,
                    crc32: chunk.crc32,
                };
                receiver = on_disk(move || receiver.push(chunk).map(|()| receiver)).await?;
                count += 1;
            }
            Some(Part::End(end)) => break end.chunks,
            Some(Part::Head(_)) => return Err(Status::invalid_argument("a second head")),
            None => return Err(Status::aborted("the snapshot ended early")),
        }
    };
    if announced != count {
        let message = format!("{count} chunks came, and {announced} were sent");
        return Err(Status::data_loss(message));
    }
    let files = on_disk(move || receiver.finish()).await?;
    if let Err(error) = files.check_meta(&header.meta) {
        tracing::warn!(from = head.sender, %error, "a snapshot is refused");
        return Err(Status::data_loss(error.to_string()));
    }
    let snapshot = openraft::Snapshot {
        meta: header.meta,
        snapshot: files,
    };
    let installed = core.raft.install_full_snapshot(header.vote, snapshot).await;
    let installed = installed.map_err(|error| Status::unavailable(error.to_string()))?;
    tracing::info!(from = head.sender, "the snapshot is installed");
    Ok(installed)
}

/// Runs something that waits for the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Status> {
    let done = raft_store::offload(work).await;
    let done = done.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| {
        tracing::warn!(%error, "a snapshot is refused");
        Status::internal(error.to_string())
    })
}
