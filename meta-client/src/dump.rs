//! A volume's metadata in a file: all replicated rows as they were at one moment, as the changelog
//! service sends them, behind a head that says what they are of.
//!
//! ```text
//! "CURLEWDUMP1\n" | frame*      frame = length u32 | crc32 u32 | bytes      (little-endian)
//! ```
//!
//! The first frame is JSON ([`DumpInfo`]), the second a `LoadFrame` with a head, then pages, and at
//! the end one that says so: a dump that was cut off is told from a whole one. The digest in the
//! head is that of all rows.

use crate::changelog::{
    Changelog, ChangelogError, LoadHead, LoadPage, load_head, load_head_message,
};
use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::{ClientError, Failure};
use crate::url::MetaUrl;
use meta_core::changelog::SealedRecord;
use meta_core::command::{BeginRestore, LoadRows};
use meta_core::digest::{Digest, row_hash};
use meta_core::ids::VolumeId;
use meta_core::limits::MESSAGE_BYTES_MAX;
use meta_core::outcome::Refusal;
use proto::frame::Framed as _;
use proto::v1;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 12] = b"CURLEWDUMP1\n";
/// Bytes of rows in one command.
const PIECE_BYTES: usize = 1 << 20;
/// Rows in one command.
const PIECE_ROWS: usize = 4096;

/// What a dump is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DumpInfo {
    /// The volume's name.
    pub volume: String,
    /// Where its blocks lie.
    pub storage: serde_json::Value,
}

/// Why a dump was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The cluster that is dumped.
    #[error(transparent)]
    Changelog(#[from] ChangelogError),
    /// The cluster that is loaded into.
    #[error(transparent)]
    Cluster(#[from] ClientError),
    /// It is something else.
    #[error("it is no dump of this version's")]
    NoDump,
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// What was dumped or loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dumped {
    /// Of which volume, and when in its history.
    pub head: LoadHead,
    /// Rows.
    pub rows: u64,
}

/// Writes all that a volume's metadata is at one moment. The volume goes on being used. Tells
/// `progress` how many rows there are so far.
///
/// # Errors
/// [`DumpError::Changelog`] if the cluster does not give it, [`DumpError::File`] if `out` does not
/// take it; what was written is no dump then.
pub async fn dump<W: Write>(
    url: &MetaUrl,
    info: &DumpInfo,
    mut out: W,
    mut progress: impl FnMut(u64),
) -> Result<Dumped, DumpError> {
    let (head, mut pages) = Changelog::new(url).load().await?;
    out.write_all(MAGIC)?;
    let json = serde_json::to_vec(info).map_err(io::Error::other)?;
    let json = SealedRecord::seal(json);
    write_frame(&mut out, json.crc, &json.body)?;
    write_message(
        &mut out,
        v1::load_frame::Frame::Head(load_head_message(&head)),
    )?;
    let (mut rows, mut sum) = (0, Digest::default());
    while let Some(page) = pages.next().await? {
        add(&mut sum, &page);
        rows += page.rows.len() as u64;
        let keyed = page.rows.into_iter();
        let keyed = keyed.map(|(key, row)| v1::KeyedRow { key, row });
        let page = v1::LoadPage {
            through: page.through,
            rows: keyed.collect(),
        };
        write_message(&mut out, v1::load_frame::Frame::Page(page))?;
        progress(rows);
    }
    if sum.0 != head.digest {
        return Err(DumpError::Damaged(
            "the rows that came have another digest than the volume",
        ));
    }
    let end = v1::FollowEnd {
        kind: v1::FollowEndKind::Complete.into(),
        ..v1::FollowEnd::default()
    };
    write_message(&mut out, v1::load_frame::Frame::End(end))?;
    out.flush()?;
    Ok(Dumped { head, rows })
}

fn write_message(out: &mut impl Write, frame: v1::load_frame::Frame) -> io::Result<()> {
    let frame = v1::LoadFrame { frame: Some(frame) }.to_frame();
    write_frame(out, frame.crc, &frame.frame)
}

fn write_frame(out: &mut impl Write, crc: u32, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&crc.to_le_bytes())?;
    out.write_all(bytes)
}

fn add(sum: &mut Digest, page: &LoadPage) {
    for (key, row) in &page.rows {
        if let Some((table, ids)) = key.split_first() {
            sum.add(row_hash(*table, ids, row));
        }
    }
}

/// A dump that is read.
#[derive(Debug)]
pub struct Dump<R> {
    input: R,
    info: DumpInfo,
    head: LoadHead,
    rows: u64,
    sum: Digest,
}

impl<R: Read> Dump<R> {
    /// Reads what the dump is of.
    ///
    /// # Errors
    /// [`DumpError::NoDump`] or [`DumpError::Damaged`].
    pub fn open(mut input: R) -> Result<Self, DumpError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return Err(DumpError::NoDump),
        }
        let (crc, body) = read_frame(&mut input)?;
        let json = SealedRecord { crc, body };
        let info = json.is_intact().then(|| serde_json::from_slice(&json.body));
        let Some(Ok(info)) = info else {
            return Err(DumpError::Damaged("what it is of cannot be read"));
        };
        let Some(v1::load_frame::Frame::Head(head)) = read_message(&mut input)? else {
            return Err(DumpError::Damaged("it has no head"));
        };
        Ok(Self {
            input,
            info,
            head: load_head(head)?,
            rows: 0,
            sum: Digest::default(),
        })
    }

    /// What it is of.
    pub fn info(&self) -> &DumpInfo {
        &self.info
    }

    /// When it is of.
    pub fn head(&self) -> &LoadHead {
        &self.head
    }

    /// The next rows; `None` after all of them, which were then those that were dumped.
    ///
    /// # Errors
    /// [`DumpError::Damaged`].
    pub fn page(&mut self) -> Result<Option<LoadPage>, DumpError> {
        match read_message(&mut self.input)? {
            Some(v1::load_frame::Frame::Page(page)) => {
                let rows = page.rows.into_iter().map(|row| (row.key, row.row));
                let page = LoadPage {
                    through: page.through,
                    rows: rows.collect(),
                };
                add(&mut self.sum, &page);
                self.rows += page.rows.len() as u64;
                Ok(Some(page))
            }
            Some(v1::load_frame::Frame::End(_)) if self.sum.0 == self.head.digest => Ok(None),
            Some(v1::load_frame::Frame::End(_)) => Err(DumpError::Damaged(
                "its rows have not the digest that it names",
            )),
            _ => Err(DumpError::Damaged("a frame is out of place")),
        }
    }

    /// Makes a volume of it, an origin in a new epoch, and tells `progress` how many rows it has so
    /// far. Done again after it was interrupted, it begins anew.
    ///
    /// # Errors
    /// [`Refusal::VolumeExists`] if the cluster has that name, or the volume under another name.
    pub async fn load(
        mut self,
        cluster: &Cluster,
        name: &str,
        storage: Vec<u8>,
        mut progress: impl FnMut(u64),
    ) -> Result<(VolumeId, Dumped), DumpError> {
        let head = self.head;
        let begin = BeginRestore {
            name: name.to_owned(),
            uuid: head.volume,
            origin: head.cluster,
            storage,
            snapshot: head.token,
            record_crc: head.record_crc,
        };
        let volume = cluster.begin_restore(begin).await?;
        let mut after = Vec::new();
        while let Some(page) = self.page()? {
            for piece in pieces(after.clone(), page) {
                after.clone_from(&piece.through);
                send(cluster, volume, piece).await?;
            }
            progress(self.rows);
        }
        cluster.end_restore(volume, head.stamp, head.digest).await?;
        let rows = self.rows;
        Ok((volume, Dumped { head, rows }))
    }
}

/// Sends rows until they are in.
async fn send(cluster: &Cluster, volume: VolumeId, rows: LoadRows) -> Result<(), ClientError> {
    until_in(cluster.deadline(), || {
        cluster.restore_rows(volume, rows.clone())
    })
    .await
}

/// Repeats a sending of rows until they are in: once after a lost answer, and more often until the
/// deadline, because each repetition may lose its answer to another change of the leader.
async fn until_in<F>(deadline: Deadline, mut sending: impl FnMut() -> F) -> Result<(), ClientError>
where
    F: Future<Output = Result<bool, ClientError>>,
{
    let mut in_doubt = false;
    loop {
        match sending().await {
            Ok(false) => return Ok(()),
            // Much of an earlier attempt had to go first.
            Ok(true) => in_doubt = false,
            // The sending before this one was taken in after all.
            Err(ClientError::Refused(Refusal::MirrorGap)) if in_doubt => return Ok(()),
            Err(ClientError::Unknown(_)) if !in_doubt || !deadline.is_over() => in_doubt = true,
            Err(error) => return Err(error),
        }
    }
}

/// Cuts a page into what fits a command.
fn pieces(mut after: Vec<u8>, page: LoadPage) -> Vec<LoadRows> {
    let mut pieces = Vec::new();
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for (key, row) in page.rows {
        let more = key.len() + row.len();
        if rows.len() >= PIECE_ROWS || (bytes + more > PIECE_BYTES && !rows.is_empty()) {
            let through = rows.last().map(|(key, _)| key.clone()).unwrap_or_default();
            pieces.push(LoadRows {
                after: std::mem::replace(&mut after, through.clone()),
                through,
                rows: std::mem::take(&mut rows),
            });
            bytes = 0;
        }
        bytes += more;
        rows.push((key, row));
    }
    pieces.push(LoadRows {
        after,
        through: page.through,
        rows,
    });
    pieces
}

fn read_message(input: &mut impl Read) -> Result<Option<v1::load_frame::Frame>, DumpError> {
    let (crc, bytes) = read_frame(input)?;
    let frame = v1::CheckedFrame {
        crc,
        frame: bytes.into(),
    };
    match v1::LoadFrame::of_frame(&frame) {
        Ok(message) => Ok(message.frame),
        Err(_damaged) => Err(DumpError::Damaged("a frame has another crc than its bytes")),
    }
}

fn read_frame(input: &mut impl Read) -> Result<(u32, Vec<u8>), DumpError> {
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => DumpError::Damaged("it ends too early"),
        _ => error.into(),
    };
    let (mut length, mut crc) = ([0; 4], [0; 4]);
    input.read_exact(&mut length).map_err(cut)?;
    input.read_exact(&mut crc).map_err(cut)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(DumpError::Damaged("a frame is too long"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes).map_err(cut)?;
    Ok((u32::from_le_bytes(crc), bytes))
}

/// A failure of the cluster that is worth another try.
impl DumpError {
    /// Whether the same may go well when it is tried again.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Changelog(ChangelogError::Failed(_))
                | Self::Cluster(ClientError::Failed(
                    Failure::Unreachable(_) | Failure::TimedOut(_) | Failure::NoLeader(_)
                ))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::time::Duration;

    fn page(keys: std::ops::Range<u8>, bytes: usize) -> LoadPage {
        LoadPage {
            through: vec![0x80],
            rows: keys.map(|key| (vec![1, key], vec![key; bytes])).collect(),
        }
    }

    #[test]
    fn pieces_of_a_page_follow_each_other_and_cover_it() {
        for bytes in [10, 300_000, 2_000_000] {
            let whole = page(0..9, bytes);
            let pieces = pieces(vec![0], whole.clone());
            assert_eq!(pieces.first().expect("one").after, [0]);
            assert_eq!(pieces.last().expect("one").through, whole.through);
            for two in pieces.windows(2) {
                assert_eq!(two[0].through, two[1].after);
                assert_eq!(two[0].rows.last().expect("rows").0, two[0].through);
            }
            let small =
                |piece: &LoadRows| piece.rows.len() == 1 || bytes * piece.rows.len() < PIECE_BYTES;
            assert!(pieces.iter().all(small), "{bytes}");
            let all: Vec<_> = pieces.into_iter().flat_map(|piece| piece.rows).collect();
            assert_eq!(all, whole.rows);
        }
    }

    /// How rows end whose sendings are answered so, one after the other.
    async fn sent(
        answers: impl IntoIterator<Item = Result<bool, ClientError>>,
        limit: Duration,
    ) -> Result<(), ClientError> {
        let mut answers = answers.into_iter();
        let sending = || ready(answers.next().expect("no more sendings"));
        until_in(Deadline::after(Some(limit)), sending).await
    }

    #[tokio::test]
    async fn rows_that_were_taken_in_before_their_answer_was_lost_are_in() {
        let minute = Duration::from_secs(60);
        let lost = || Err(ClientError::Unknown("lost".into()));
        let gap = || Err(ClientError::Refused(Refusal::MirrorGap));
        assert_eq!(sent([Ok(true), Ok(false)], minute).await, Ok(()));
        assert_eq!(sent([lost(), gap()], minute).await, Ok(()));
        // The leader changes more than once.
        assert_eq!(sent([lost(), lost(), lost(), gap()], minute).await, Ok(()));
        // What was answered leaves no doubt behind.
        assert_eq!(sent([gap()], minute).await, gap().map(|_: bool| ()));
        let answers = [lost(), Ok(true), gap()];
        assert_eq!(sent(answers, minute).await, gap().map(|_: bool| ()));
        // One more sending, also when the first one took all the time that there was.
        assert_eq!(sent([lost(), Ok(false)], Duration::ZERO).await, Ok(()));
        let given_up = sent([lost(), lost()], Duration::ZERO).await;
        assert_eq!(given_up, lost().map(|_: bool| ()));
    }

    #[test]
    fn what_is_no_dump_is_said_to_be_none() {
        for bytes in [&b""[..], b"CURLEWDUMP2\n", b"PK\x03\x04 something else"] {
            assert!(matches!(Dump::open(bytes), Err(DumpError::NoDump)));
        }
    }
}
