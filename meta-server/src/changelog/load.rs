//! A volume's rows as they are at one moment, sent while writes go on.

use super::{check_leading, check_version, end, find};
use crate::node::Core;
use meta_core::failpoint::{self, Point};
use meta_core::ids::VolumeId;
use meta_core::limits::{MIRROR_BYTES_MAX, MIRROR_ROWS_MAX};
use meta_core::outcome::Fatal;
use meta_core::read::{SnapshotHead, SnapshotPage};
use proto::frame::Framed as _;
use proto::v1;
use proto::v1::FollowEndKind;
use proto::v1::load_frame::Frame;
use raft_store::{LastingView, View};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a receiver may leave a frame waiting: meanwhile the view of the rows is kept, and with
/// it all that is replaced.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stream of one snapshot.
pub(super) struct LoadStream {
    core: Arc<Core>,
    request: v1::LoadRequest,
    out: mpsc::Sender<v1::CheckedFrame>,
    stop: CancellationToken,
}

impl LoadStream {
    pub(super) fn new(
        core: Arc<Core>,
        request: v1::LoadRequest,
        out: mpsc::Sender<v1::CheckedFrame>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            core,
            request,
            out,
            stop,
        }
    }

    /// Sends all rows and an end, or an end that says why not.
    pub(super) async fn run(self) {
        let out = self.out.clone();
        let ended = match self.serve().await {
            Ok(Some(end)) | Err(end) => end,
            Ok(None) => return,
        };
        let frame = v1::LoadFrame {
            frame: Some(Frame::End(ended)),
        };
        // Who left needs no end.
        let _left = out.send_timeout(frame.to_frame(), PATIENCE).await;
    }

    async fn serve(self) -> Result<Option<v1::FollowEnd>, v1::FollowEnd> {
        let version = check_version(self.request.min_version, self.request.max_version)?;
        check_leading(&self.core).await?;
        let volume = find(&self.core, &self.request.volume).await?;
        let reader = self.core.reader.clone();
        let taken = raft_store::offload(move || reader.lasting_view()).await;
        let taken = taken.map_err(|error| end(FollowEndKind::Unavailable, error.to_string()))?;
        let pages = Pages {
            view: taken.map_err(|fatal| super::failed(self.core.fatal(&fatal)))?,
            core: self.core,
            volume: volume.id,
            version,
            out: self.out,
            stop: self.stop,
        };
        pages.send_all().await
    }
}

/// The sending half.
struct Pages {
    core: Arc<Core>,
    view: LastingView,
    volume: VolumeId,
    version: u32,
    out: mpsc::Sender<v1::CheckedFrame>,
    stop: CancellationToken,
}

impl Pages {
    /// Sends all rows of the view; nothing is left to say to a receiver who left or fell asleep.
    async fn send_all(&self) -> Result<Option<v1::FollowEnd>, v1::FollowEnd> {
        let volume = self.volume;
        let head = self.read(move |view| meta_core::read::snapshot_head(view, volume));
        let Some(head) = head.await? else {
            let message = "the volume is not there any more";
            return Ok(Some(end(FollowEndKind::UnknownVolume, message)));
        };
        if !self.send(Frame::Head(self.head(&head))).await {
            return Ok(None);
        }
        let mut after = Vec::new();
        loop {
            if self.stop.is_cancelled() {
                let message = "the node is stopping";
                return Ok(Some(end(FollowEndKind::Unavailable, message)));
            }
            let page = self.read(move |view| {
                let (rows, bytes) = (MIRROR_ROWS_MAX, MIRROR_BYTES_MAX);
                meta_core::read::snapshot_page(view, volume, &after, rows, bytes)
            });
            let page = page.await?;
            let last = page.end;
            after = page.through.clone();
            failpoint::pass(Point::LoadSend);
            if !self.send(Frame::Page(load_page(page))).await {
                return Ok(None);
            }
            if last {
                return Ok(Some(end(FollowEndKind::Complete, "")));
            }
        }
    }

    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<R, Fatal> + Send + 'static,
    ) -> Result<R, v1::FollowEnd> {
        match self.view.read(read).await {
            Some(Ok(read)) => Ok(read),
            Some(Err(fatal)) => Err(super::failed(self.core.fatal(&fatal))),
            None => {
                let message = "the view of the rows was given up";
                Err(end(FollowEndKind::Unavailable, message))
            }
        }
    }

    fn head(&self, head: &SnapshotHead) -> v1::LoadHead {
        v1::LoadHead {
            version: self.version,
            cluster: head.cluster.0.to_vec(),
            uuid: head.uuid.0.to_vec(),
            token: Some(head.token.into()),
            record_crc: head.record_crc,
            stamp: Some(head.stamp.into()),
            digest: head.digest.to_le_bytes().to_vec(),
        }
    }

    async fn send(&self, frame: Frame) -> bool {
        let frame = v1::LoadFrame { frame: Some(frame) };
        let sending = self.out.send_timeout(frame.to_frame(), PATIENCE);
        sending.await.is_ok()
    }
}

fn load_page(page: SnapshotPage) -> v1::LoadPage {
    let row = |(key, row)| v1::KeyedRow { key, row };
    v1::LoadPage {
        through: page.through,
        rows: page.rows.into_iter().map(row).collect(),
    }
}
