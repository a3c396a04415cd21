//! Sends a snapshot as a stream of checked chunks.
//!
//! The stream takes as long as it takes; it is given up only when nothing moved for a while. No
//! time limit of a single call applies to it.

use super::link::{Link, failed, promise};
use crate::clock::nanoseconds;
use meta_core::failpoint::{self, Point};
use openraft::errors::{NetworkError, ReplicationClosed, StreamingError};
use openraft::network::RPCTypes;
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use proto::v1;
use proto::v1::snapshot_part::Part;
use raft_store::wire::{self, SnapshotHeader};
use raft_store::{SnapshotFiles, TypeConfig};
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

const CHUNK_BYTES: usize = 2 << 20;
/// Chunks read ahead of the network.
const CHUNKS_AHEAD: usize = 2;
/// No chunk was taken for so long.
const STALL: Duration = Duration::from_secs(30);
/// The installation did not end for so long after the last chunk.
const INSTALL: Duration = Duration::from_secs(120);

pub(super) async fn send(
    link: &Link,
    vote: VoteOf<TypeConfig>,
    snapshot: SnapshotOf<TypeConfig, SnapshotFiles>,
    cancel: impl Future<Output = ReplicationClosed>,
) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
    let header = SnapshotHeader {
        vote,
        meta: snapshot.meta,
    };
    let payload = wire::encode(&header).map_err(|error| NetworkError::new(&error))?;
    let head = v1::SnapshotHead {
        group: 0,
        sender: link.network.node_id,
        target: link.target,
        sender_clock_ns: nanoseconds(link.network.wall.now()),
        payload: payload.into(),
        target_incarnation: link.incarnation.0,
    };
    let sent_at = Instant::now();
    tracing::info!(peer = link.target, meta = %header.meta, "sending a snapshot");
    let (parts, stream) = mpsc::channel(CHUNKS_AHEAD);
    let (moved, progress) = watch::channel(0_u64);
    let reading = tokio::spawn(read(snapshot.snapshot, head, parts, moved));
    let mut client = link.client()?;
    let installing = client.install_snapshot(ReceiverStream::new(stream));
    let done = tokio::select! {
        done = installing => done.map_err(|status| StreamingError::from(failed(&status)))?,
        closed = cancel => return Err(closed.into()),
        () = stalled(progress) => return Err(link.timeout(RPCTypes::InstallSnapshot, STALL).into()),
    };
    // The peer answers early only to refuse; then the reader's end was dropped under it.
    match reading.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(NetworkError::new(&error).into()),
        Err(error) => return Err(NetworkError::new(&error).into()),
    }
    let done = done.into_inner();
    let promised = promise(done.receiver_promise_ms);
    link.network
        .leader_lease
        .observe(link.target, sent_at, promised);
    wire::decode(&done.payload).map_err(|error| NetworkError::new(&error).into())
}

/// Ends when nothing moved for too long.
async fn stalled(mut progress: watch::Receiver<u64>) {
    loop {
        match tokio::time::timeout(STALL, progress.changed()).await {
            Ok(Ok(())) => {}
            // All chunks are out.
            Ok(Err(_done)) => return tokio::time::sleep(INSTALL).await,
            Err(_elapsed) => return,
        }
    }
}

/// Reads the files, no faster than the peer takes them.
async fn read(
    files: SnapshotFiles,
    head: v1::SnapshotHead,
    parts: mpsc::Sender<v1::SnapshotPart>,
    moved: watch::Sender<u64>,
) -> std::io::Result<()> {
    let mut count = 0;
    let pass_on = async |part| {
        // The peer stopped listening: it refused, and its answer says why.
        let sent = parts.send(v1::SnapshotPart { part: Some(part) }).await;
        moved.send_modify(|moved| *moved += 1);
        sent.is_ok()
    };
    if !pass_on(Part::Head(head)).await {
        return Ok(());
    }
    let mut chunks = files.chunks(CHUNK_BYTES);
    loop {
        let reading = raft_store::offload(move || (chunks.next(), chunks));
        let (chunk, rest) = reading.await.map_err(std::io::Error::other)?;
        chunks = rest;
        let Some(chunk) = chunk else { break };
        // The stream then ends without its end mark, and the peer throws it away.
        let chunk = chunk
            .inspect_err(|error| tracing::error!(%error, "a snapshot's file cannot be read"))?;
        let part = v1::SnapshotChunk {
            file: chunk.file,
            offset: chunk.offset,
            data: chunk.data,
            crc32: chunk.crc32,
        };
        failpoint::pass(Point::SnapshotSend);
        if !pass_on(Part::Chunk(part)).await {
            return Ok(());
        }
        count += 1;
    }
    pass_on(Part::End(v1::SnapshotEnd { chunks: count })).await;
    Ok(())
}
