//! A volume's changelog and its rows, as a mirror or a tool reads them: over connections of their
//! own, so that a slow reader holds up no mount.

use crate::endpoint;
use crate::error::Failure;
use crate::url::MetaUrl;
use meta_core::attr::Timestamp;
use meta_core::changelog::{Record, SealedRecord};
use meta_core::ids::{ClusterId, Epoch, Level, Seq, Uuid, VolumeUuid};
use meta_core::outcome::Token;
use proto::convert::Convert as _;
use proto::frame::{FrameError, Framed};
use proto::limits::{CHANGELOG_VERSION_MAX, CHANGELOG_VERSION_MIN};
use proto::v1;
use std::time::Duration;
use tonic::Streaming;
use tonic::transport::Channel;

/// A node's time to answer the first frame.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A node that leads says at least ten times a second how far it is. One that is silent for so
/// long is left: it may be stopped, or cut off.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// A page of a snapshot may take a while to be read.
const PAGE_LIMIT: Duration = Duration::from_secs(30);
/// Nodes asked in one search: those of the URL and those that they name.
const NODES_MAX: usize = 32;

/// Why a changelog cannot be read, or not any further.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangelogError {
    /// The way to the cluster failed: try again from the last record that came.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The records are not retained any more.
    #[error("{0}")]
    NotRetained(String),
    /// The cluster never had the records.
    #[error("{0}")]
    PastEnd(String),
    /// No volume has the name.
    #[error("{0}")]
    UnknownVolume(String),
    /// What came is not what was sent.
    #[error("a frame was damaged on the way")]
    Damaged,
    /// What came cannot be read here.
    #[error("the other side sends what this version does not understand ({0}); upgrade this side")]
    Unreadable(String),
}

/// Reads a volume's changelog from whichever node leads.
#[derive(Clone, Debug)]
pub struct Changelog {
    addrs: Vec<String>,
    volume: String,
}

/// What a stream of records begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowHead {
    /// The cluster that sends.
    pub cluster: ClusterId,
    /// The volume.
    pub volume: VolumeUuid,
    /// Its epoch.
    pub epoch: Epoch,
    /// The oldest record retained.
    pub first: Seq,
    /// The newest.
    pub last: Seq,
}

/// What a stream of records brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FollowEvent {
    /// Records, in order, and the newest that there was when they were read.
    Records(Vec<SealedRecord>, Seq),
    /// The volume's newest record, while there is nothing else to say.
    Position(Seq),
}

/// What a snapshot begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadHead {
    /// The cluster that sends.
    pub cluster: ClusterId,
    /// The volume.
    pub volume: VolumeUuid,
    /// The volume's state.
    pub token: Token,
    /// CRC of its last record.
    pub record_crc: u32,
    /// The stamp of its last change.
    pub stamp: Timestamp,
    /// The digest of all rows.
    pub digest: u128,
}

/// Rows of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadPage {
    /// All rows after the page before and up to this key are in it.
    pub through: Vec<u8>,
    /// Keys (tag and ids) and rows.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The hash of a range of rows as they were at a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowsHash {
    /// The last key of the range.
    pub through: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
    /// The wrapping sum of their hashes.
    pub hash: u128,
    /// Whether no rows follow.
    pub end: bool,
    /// The digest that the side stores of all rows, as of the mark.
    pub digest: u128,
}

/// A range of rows as they were at a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowsRange {
    /// The mark.
    pub mark: Token,
    /// Rows with keys after this one,
    pub after: Vec<u8>,
    /// and up to this one,
    pub through: Vec<u8>,
    /// but at most so many.
    pub rows_max: u64,
}

/// What a stream is opened for.
enum Ask {
    Follow(v1::FollowRequest),
    Load(v1::LoadRequest),
}

impl Changelog {
    /// The changelog of the URL's volume. Nothing is asked yet.
    pub fn new(url: &MetaUrl) -> Self {
        Self {
            addrs: url.addrs.clone(),
            volume: url.volume.clone(),
        }
    }

    /// Records from `from` on; with `live`, also those to come.
    ///
    /// # Errors
    /// [`ChangelogError`] says whether trying again can help.
    pub async fn follow(
        &self,
        from: Seq,
        live: bool,
    ) -> Result<(FollowHead, Following), ChangelogError> {
        self.follow_as("", Level(0), from, live).await
    }

    /// [`Self::follow`] for the mirror `name`, in a cluster whose members all read up to `level`.
    ///
    /// # Errors
    /// As [`Self::follow`].
    pub async fn follow_as(
        &self,
        name: &str,
        level: Level,
        from: Seq,
        live: bool,
    ) -> Result<(FollowHead, Following), ChangelogError> {
        let request = v1::FollowRequest {
            min_version: CHANGELOG_VERSION_MIN,
            max_version: CHANGELOG_VERSION_MAX,
            volume: self.volume.clone(),
            from: from.0,
            live,
            follower: name.to_owned(),
            level: level.0,
        };
        let ask = Ask::Follow(request);
        let (frames, first) = self.open::<v1::FollowFrame>(&ask).await?;
        match first.frame {
            Some(v1::follow_frame::Frame::Head(head)) => {
                let head = FollowHead {
                    cluster: uuid(&head.cluster)?,
                    volume: uuid(&head.uuid)?,
                    epoch: epoch(head.epoch)?,
                    first: Seq(head.first),
                    last: Seq(head.last),
                };
                Ok((head, Following { frames }))
            }
            _ => Err(unreadable("records without a head")),
        }
    }

    /// All replicated rows as they are at one moment.
    ///
    /// # Errors
    /// [`ChangelogError`] says whether trying again can help.
    pub async fn load(&self) -> Result<(LoadHead, Loading), ChangelogError> {
        let request = v1::LoadRequest {
            min_version: CHANGELOG_VERSION_MIN,
            max_version: CHANGELOG_VERSION_MAX,
            volume: self.volume.clone(),
        };
        let (frames, first) = self.open::<v1::LoadFrame>(&Ask::Load(request)).await?;
        match first.frame {
            Some(v1::load_frame::Frame::Head(head)) => Ok((load_head(head)?, Loading { frames })),
            _ => Err(unreadable("rows without a head")),
        }
    }

    /// The hash of a range of rows at a mark, from any of the URL's nodes. `None` if none of them
    /// keeps the view of it, or not any more.
    ///
    /// # Errors
    /// [`ChangelogError::Failed`] if no node answers.
    pub async fn hash_rows(&self, range: &RowsRange) -> Result<Option<RowsHash>, ChangelogError> {
        let request = v1::HashRowsRequest {
            volume: self.volume.clone(),
            mark: Some(range.mark.into()),
            after: range.after.clone(),
            through: range.through.clone(),
            rows_max: range.rows_max,
        };
        let mut failed = None;
        for addr in &self.addrs {
            let asking = hash_rows_at(addr, request.clone());
            match tokio::time::timeout(PAGE_LIMIT, asking).await {
                Ok(Ok(Some(found))) => return Ok(Some(found)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_elapsed) => failed = Some(Failure::TimedOut(addr.clone()).into()),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Opens a stream at the node that leads, and takes its first frame.
    async fn open<F: Framed + Ending>(&self, ask: &Ask) -> Result<(Frames<F>, F), ChangelogError> {
        let mut addrs: Vec<String> = self.addrs.clone();
        let mut at = 0;
        let mut last = ChangelogError::Failed(Failure::Unreachable("no addresses".into()));
        while let Some(addr) = addrs.get(at).cloned() {
            at += 1;
            let opening = open_at::<F>(&addr, ask);
            let opened = tokio::time::timeout(ANSWER_LIMIT, opening).await;
            let (mut frames, first) = match opened {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => {
                    last = error;
                    continue;
                }
                Err(_elapsed) => {
                    last = Failure::TimedOut(addr).into();
                    continue;
                }
            };
            match first.ending() {
                Some(end) if end.kind() == v1::FollowEndKind::NotLeader => {
                    let hint = &end.leader_addr;
                    if !hint.is_empty() && !addrs.contains(hint) && addrs.len() < NODES_MAX {
                        // The given ones are asked before it: in another network they may be the only
                        // ones that can be reached.
                        addrs.push(hint.clone());
                    }
                    last = Failure::NoLeader(end.message.clone()).into();
                }
                Some(end) => last = ended(end, &mut frames)?,
                None => return Ok((frames, first)),
            }
        }
        Err(last)
    }
}

async fn hash_rows_at(
    addr: &str,
    request: v1::HashRowsRequest,
) -> Result<Option<RowsHash>, ChangelogError> {
    let channel = endpoint::connect(addr).await?;
    let mut client = endpoint::changelog(channel);
    match client.hash_rows(request).await {
        Ok(reply) => {
            let v1::HashRowsReply {
                through,
                rows,
                hash,
                end,
                digest,
            } = reply.into_inner();
            let hash = u128::from_le_bytes(sixteen(&hash)?);
            let digest = u128::from_le_bytes(sixteen(&digest)?);
            Ok(Some(RowsHash {
                through,
                rows,
                hash,
                end,
                digest,
            }))
        }
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(broke(addr, &status)),
    }
}

/// What a stream's end says. What only time heals lets the search go on.
fn ended<F>(end: &v1::FollowEnd, frames: &mut Frames<F>) -> Result<ChangelogError, ChangelogError> {
    let message = format!("{}: {}", frames.addr, end.message);
    match end.kind() {
        v1::FollowEndKind::NotRetained => Err(ChangelogError::NotRetained(message)),
        v1::FollowEndKind::PastEnd => Err(ChangelogError::PastEnd(message)),
        v1::FollowEndKind::UnknownVolume => Err(ChangelogError::UnknownVolume(message)),
        v1::FollowEndKind::UnsupportedVersion => Err(ChangelogError::Unreadable(message)),
        v1::FollowEndKind::NotLeader => Ok(Failure::NoLeader(message).into()),
        v1::FollowEndKind::Unavailable
        | v1::FollowEndKind::Complete
        | v1::FollowEndKind::Unspecified => Ok(Failure::Unreachable(message).into()),
    }
}

async fn open_at<F: Framed>(addr: &str, ask: &Ask) -> Result<(Frames<F>, F), ChangelogError> {
    let channel = endpoint::connect(addr).await?;
    let mut client = endpoint::changelog(channel.clone());
    let opened = match ask {
        Ask::Follow(request) => client.follow(request.clone()).await,
        Ask::Load(request) => client.load(request.clone()).await,
    };
    let inbound = opened.map_err(|status| broke(addr, &status))?.into_inner();
    let mut frames = Frames {
        addr: addr.to_owned(),
        inbound,
        _channel: channel,
        _of: std::marker::PhantomData,
    };
    let first = frames.next(ANSWER_LIMIT).await?;
    let first = first.ok_or_else(|| Failure::Unreachable(format!("{addr}: the stream ended")))?;
    Ok((frames, first))
}

fn broke(addr: &str, status: &tonic::Status) -> ChangelogError {
    let message = format!("{addr}: {}", status.message());
    if status.code() == tonic::Code::Unimplemented {
        return Failure::VersionMismatch(message).into();
    }
    Failure::Unreachable(message).into()
}

/// Checked frames of one stream.
#[derive(Debug)]
struct Frames<F> {
    addr: String,
    inbound: Streaming<v1::CheckedFrame>,
    /// The connection lives as long as the stream.
    _channel: Channel,
    _of: std::marker::PhantomData<fn() -> F>,
}

impl<F: Framed> Frames<F> {
    /// The next frame; `None` at the end of the stream. Safe to drop while it waits.
    async fn next(&mut self, limit: Duration) -> Result<Option<F>, ChangelogError> {
        let message = tokio::time::timeout(limit, self.inbound.message()).await;
        let silent = |_elapsed| Failure::TimedOut(format!("{} is silent", self.addr));
        let frame = message
            .map_err(silent)?
            .map_err(|status| broke(&self.addr, &status))?;
        let Some(frame) = frame else { return Ok(None) };
        match F::of_frame(&frame) {
            Ok(frame) => Ok(Some(frame)),
            Err(FrameError::WrongCrc) => Err(ChangelogError::Damaged),
            Err(FrameError::Unreadable(why)) => Err(ChangelogError::Unreadable(why)),
        }
    }
}

/// A frame that may be an end.
trait Ending {
    fn ending(&self) -> Option<&v1::FollowEnd>;
}

impl Ending for v1::FollowFrame {
    fn ending(&self) -> Option<&v1::FollowEnd> {
        match &self.frame {
            Some(v1::follow_frame::Frame::End(end)) => Some(end),
            _ => None,
        }
    }
}

impl Ending for v1::LoadFrame {
    fn ending(&self) -> Option<&v1::FollowEnd> {
        match &self.frame {
            Some(v1::load_frame::Frame::End(end)) => Some(end),
            _ => None,
        }
    }
}

/// Records as they come.
#[derive(Debug)]
pub struct Following {
    frames: Frames<v1::FollowFrame>,
}

impl Following {
    /// What comes next; `None` when all records were sent and no more were asked for. Safe to drop
    /// while it waits.
    ///
    /// # Errors
    /// [`ChangelogError`] says whether trying again can help.
    pub async fn next(&mut self) -> Result<Option<FollowEvent>, ChangelogError> {
        use v1::follow_frame::Frame;
        let frame = self.frames.next(SILENCE_LIMIT).await?;
        let frame = frame.ok_or_else(|| self.cut())?;
        match frame.frame {
            Some(Frame::Records(found)) => {
                let records = v1::SealedRecords {
                    records: found.records,
                };
                let records = converted(records.convert())?;
                Ok(Some(FollowEvent::Records(records, Seq(found.last))))
            }
            Some(Frame::Position(position)) => Ok(Some(FollowEvent::Position(Seq(position.last)))),
            Some(Frame::End(end)) if end.kind() == v1::FollowEndKind::Complete => Ok(None),
            Some(Frame::End(end)) => Err(match ended(&end, &mut self.frames) {
                Ok(error) | Err(error) => error,
            }),
            Some(Frame::Head(_)) => Err(unreadable("a second head")),
            None => Err(unreadable("a frame of a kind that is unknown here")),
        }
    }

    /// The node that sends.
    pub fn addr(&self) -> &str {
        &self.frames.addr
    }

    fn cut(&self) -> ChangelogError {
        Failure::Unreachable(format!("{}: the stream was cut", self.frames.addr)).into()
    }
}

/// A snapshot as it comes.
#[derive(Debug)]
pub struct Loading {
    frames: Frames<v1::LoadFrame>,
}

impl Loading {
    /// The next rows; `None` when all have come.
    ///
    /// # Errors
    /// [`ChangelogError`] says whether trying again can help.
    pub async fn next(&mut self) -> Result<Option<LoadPage>, ChangelogError> {
        use v1::load_frame::Frame;
        let frame = self.frames.next(PAGE_LIMIT).await?;
        let addr = &self.frames.addr;
        let cut = || Failure::Unreachable(format!("{addr}: the stream was cut"));
        match frame.ok_or_else(cut)?.frame {
            Some(Frame::Page(page)) => {
                let rows = page.rows.into_iter().map(|row| (row.key, row.row));
                Ok(Some(LoadPage {
                    through: page.through,
                    rows: rows.collect(),
                }))
            }
            Some(Frame::End(end)) if end.kind() == v1::FollowEndKind::Complete => Ok(None),
            Some(Frame::End(end)) => Err(match ended(&end, &mut self.frames) {
                Ok(error) | Err(error) => error,
            }),
            Some(Frame::Head(_)) => Err(unreadable("a second head")),
            None => Err(unreadable("a frame of a kind that is unknown here")),
        }
    }
}

/// Reads a snapshot's head.
pub(crate) fn load_head(head: v1::LoadHead) -> Result<LoadHead, ChangelogError> {
    let token = head.token.ok_or(unreadable("a head without a token"))?;
    let stamp = head.stamp.ok_or(unreadable("a head without a stamp"))?;
    Ok(LoadHead {
        cluster: uuid(&head.cluster)?,
        volume: uuid(&head.uuid)?,
        token: converted(token.convert())?,
        record_crc: head.record_crc,
        stamp: converted(stamp.convert())?,
        digest: u128::from_le_bytes(sixteen(&head.digest)?),
    })
}

/// The message that [`load_head`] reads.
pub(crate) fn load_head_message(head: &LoadHead) -> v1::LoadHead {
    v1::LoadHead {
        version: CHANGELOG_VERSION_MAX,
        cluster: head.cluster.0.to_vec(),
        uuid: head.volume.0.to_vec(),
        token: Some(head.token.into()),
        record_crc: head.record_crc,
        stamp: Some(head.stamp.into()),
        digest: head.digest.to_le_bytes().to_vec(),
    }
}

/// Reads a record that came.
///
/// # Errors
/// [`ChangelogError::Damaged`] or [`ChangelogError::Unreadable`].
pub fn read_record(sealed: &SealedRecord) -> Result<Record, ChangelogError> {
    if !sealed.is_intact() {
        return Err(ChangelogError::Damaged);
    }
    converted(proto::codec::decode_record(&sealed.body))
}

fn unreadable(what: &str) -> ChangelogError {
    ChangelogError::Unreadable(what.to_owned())
}

fn converted<T>(result: Result<T, proto::ConvertError>) -> Result<T, ChangelogError> {
    result.map_err(|error| ChangelogError::Unreadable(error.to_string()))
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], ChangelogError> {
    bytes
        .try_into()
        .map_err(|_| unreadable("an identity or hash that is not of 16 bytes"))
}

fn uuid(bytes: &[u8]) -> Result<Uuid, ChangelogError> {
    sixteen(bytes).map(Uuid)
}

fn epoch(number: u32) -> Result<Epoch, ChangelogError> {
    u16::try_from(number)
        .map(Epoch)
        .map_err(|_| unreadable("an epoch past its limit"))
}
