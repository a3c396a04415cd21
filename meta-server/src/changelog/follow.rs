//! One follower of one volume: its records in order, as they are applied here.
//!
//! Only committed records leave, because only committed commands are applied. Records are read
//! from the store at the follower's own pace, so a slow one costs nothing but its place.

use super::{check_leading, check_version, end, failed, find};
use crate::node::Core;
use meta_core::changelog::SealedRecord;
use meta_core::failpoint::{self, Point};
use meta_core::ids::{Seq, VolumeId};
use meta_core::limits::VOLUME_NAME_BYTES_MAX;
use meta_core::query::{Answer, QueryBody, VolumeInfo};
use meta_core::seeded::{Bug, has};
use proto::frame::Framed as _;
use proto::v1;
use proto::v1::FollowEndKind;
use proto::v1::follow_frame::Frame;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Records in one frame, at most; a page of bytes bounds them too.
const RECORDS_MAX: usize = 1024;
/// How often an idle follower hears how far the volume is.
const POSITION_INTERVAL: Duration = Duration::from_millis(100);

/// The stream to one follower.
pub(super) struct FollowStream {
    core: Arc<Core>,
    request: v1::FollowRequest,
    out: mpsc::Sender<v1::CheckedFrame>,
    stop: CancellationToken,
}

/// Why a stream ends.
enum Ends {
    /// The follower has left.
    Left,
    /// It is told so.
    With(v1::FollowEnd),
}

impl From<v1::FollowEnd> for Ends {
    fn from(end: v1::FollowEnd) -> Self {
        Self::With(end)
    }
}

/// What was read at one moment.
struct Page {
    records: Vec<(Seq, SealedRecord)>,
    last: Seq,
}

impl FollowStream {
    pub(super) fn new(
        core: Arc<Core>,
        request: v1::FollowRequest,
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

    /// Sends until the follower leaves, the node stops or its leadership ends.
    pub(super) async fn run(self) {
        self.core.metrics.changelog_streams.inc();
        let ended = tokio::select! {
            ended = self.serve() => ended,
            () = self.stop.cancelled() => {
                Ends::With(end(FollowEndKind::Unavailable, "the node is stopping"))
            }
            () = self.out.closed() => Ends::Left,
        };
        if let Ends::With(end) = ended {
            // A follower that left needs no reason.
            let _left = self.send(Frame::End(end)).await;
        }
        self.core.metrics.changelog_streams.dec();
    }

    async fn serve(&self) -> Ends {
        match self.serve_inner().await {
            Ok(never) => match never {},
            Err(ends) => ends,
        }
    }

    async fn serve_inner(&self) -> Result<std::convert::Infallible, Ends> {
        let request = &self.request;
        let version = check_version(request.min_version, request.max_version)?;
        check_leading(&self.core).await?;
        let volume = find(&self.core, &request.volume).await?;
        let mut next = self.greet(version, &volume).await?;
        let is_mirror = (1..=VOLUME_NAME_BYTES_MAX).contains(&request.follower.len());
        let _following = is_mirror.then(|| {
            let followers = &self.core.followers;
            followers.begin(volume.id, &request.follower, request.level)
        });
        let mut changes = self.core.reader.changes();
        let mut said = Instant::now();
        loop {
            changes.borrow_and_update();
            self.core.check_leading().map_err(failed)?;
            let page = self.read(volume.id, next).await?;
            if page.records.is_empty() && next > page.last {
                if !request.live {
                    return Err(end(FollowEndKind::Complete, "").into());
                }
                // Changes of other volumes end the wait too.
                let until = said + POSITION_INTERVAL;
                let _elapsed = tokio::time::timeout_at(until, changes.changed()).await;
                if Instant::now() >= until {
                    let last = page.last.0;
                    self.send(Frame::Position(v1::Position { last })).await?;
                    said = Instant::now();
                }
                continue;
            }
            // Records are dropped from the oldest on, also while they are read.
            if page.records.first().is_none_or(|(seq, _)| *seq != next) {
                return Err(not_retained(next).into());
            }
            next = Seq(next.0 + page.records.len() as u64);
            self.send_records(page).await?;
            said = Instant::now();
        }
    }

    /// Says what is there, and where the stream begins.
    async fn greet(&self, version: u32, volume: &VolumeInfo) -> Result<Seq, Ends> {
        let stat = self.core.ask(volume.id, QueryBody::StatVolume).await;
        let Answer::Stat(stat) = stat.map_err(failed)? else {
            let message = "the answer to a look at a volume is of another kind";
            return Err(end(FollowEndKind::Unavailable, message).into());
        };
        let cluster = self.core.cluster_id().map_err(failed)?.unwrap_or_default();
        let (first, last) = (stat.changelog_first, stat.token.seq);
        let head = v1::FollowHead {
            version,
            cluster: cluster.0.to_vec(),
            uuid: volume.uuid.0.to_vec(),
            epoch: u32::from(stat.token.epoch.0),
            first: first.0,
            last: last.0,
        };
        self.send(Frame::Head(head)).await?;
        let from = match self.request.from {
            // Whatever there is.
            0 => first,
            from if has(Bug::ChangelogGap) && from > first.0 && from < last.0 => Seq(from + 1),
            from => Seq(from),
        };
        if from < first {
            return Err(not_retained(from).into());
        }
        if from.0 > last.0.saturating_add(1) {
            let message = format!("record {from} is asked for, and {last} is the newest");
            return Err(end(FollowEndKind::PastEnd, message).into());
        }
        Ok(from)
    }

    async fn read(&self, volume: VolumeId, from: Seq) -> Result<Page, Ends> {
        let core = Arc::clone(&self.core);
        let reading = raft_store::offload(move || {
            let read = core.reader.with_view(|view| {
                let last = meta_core::read::token(view, volume)?.seq;
                let records = meta_core::read::records(view, volume, from, RECORDS_MAX)?;
                Ok(Page { records, last })
            });
            read.and_then(|page| page)
                .map_err(|fatal| core.fatal(&fatal))
        });
        match reading.await {
            Ok(page) => Ok(page.map_err(failed)?),
            Err(error) => Err(end(FollowEndKind::Unavailable, error.to_string()).into()),
        }
    }

    async fn send_records(&self, page: Page) -> Result<(), Ends> {
        failpoint::pass(Point::ChangelogSend);
        let count = page.records.len() as u64;
        let records = page
            .records
            .into_iter()
            .map(|(_, sealed)| v1::SealedRecord {
                crc: sealed.crc,
                body: sealed.body,
            });
        let records = v1::FollowRecords {
            last: page.last.0,
            records: records.collect(),
        };
        self.send(Frame::Records(records)).await?;
        self.core.metrics.changelog_records.inc_by(count);
        Ok(())
    }

    async fn send(&self, frame: Frame) -> Result<(), Ends> {
        let frame = v1::FollowFrame { frame: Some(frame) };
        let sent = self.out.send(frame.to_frame()).await;
        sent.map_err(|_closed| Ends::Left)
    }
}

fn not_retained(seq: Seq) -> v1::FollowEnd {
    let message = format!("record {seq} is not retained any more");
    end(FollowEndKind::NotRetained, message)
}
