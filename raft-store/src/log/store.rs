//! openraft's log storage and its readers.

use super::disk::{Change, Durability};
use super::entry;
use super::image::{Image, LogStart, Ticket};
use super::shared::{LogShared, Mark};
use super::writer::{Done, Write, Writer};
use crate::error::StoreError;
use crate::state::State;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::wire::{self, CommittedMark};
use crate::workers::{Workers, offload};
use futures::Stream;
use futures::stream;
use meta_core::failpoint::{self, Point};
use meta_core::seeded::{Bug, has};
use openraft::errors::LeaderChanged;
use openraft::storage::{
    IOFlushed, LeaderBoundedStreamError, LeaderBoundedStreamResult, RaftLogStorage,
};
use openraft::type_config::alias::LeaderIdOf;
use openraft::{LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What one read for replication or apply gives at most: about half of the largest message.
const CHUNK_BYTES_MAX: usize = 8 << 20;

/// Keeps the log from losing entries that the state's files do not hold yet.
#[derive(Clone, Debug)]
pub(crate) enum PurgeGate {
    /// Purges wait until this state is flushed far enough.
    State(Arc<State>),
    /// No state belongs to this log.
    #[cfg(any(test, feature = "rocksdb"))]
    Open,
}

impl PurgeGate {
    /// Returns when a restart no longer needs the entries up to `upto`.
    async fn pass(&self, upto: LogId) -> Result<(), StoreError> {
        match self {
            Self::State(_) if has(Bug::PurgeBeforeFlush) => Ok(()),
            Self::State(state) => {
                let state = Arc::clone(state);
                blocking(move || state.flush_up_to(upto)).await
            }
            #[cfg(any(test, feature = "rocksdb"))]
            Self::Open => Ok(()),
        }
    }
}

/// The log as openraft's core writes it.
#[derive(Debug)]
pub struct LogStore {
    shared: Arc<LogShared>,
    writer: Writer,
    gate: PurgeGate,
}

/// The log as replication and apply read it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<LogShared>,
}

/// A write in the making.
struct Draft {
    changes: Vec<Change>,
    durability: Durability,
}

impl LogStore {
    pub(crate) fn new(
        shared: Arc<LogShared>,
        queue_bytes: usize,
        gate: PurgeGate,
        workers: Workers,
    ) -> Result<Self, StoreError> {
        let writer = Writer::spawn(Arc::clone(&shared), queue_bytes, workers)?;
        Ok(Self {
            shared,
            writer,
            gate,
        })
    }

    /// What is behind this log, to put another store over it.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<LogShared> {
        Arc::clone(&self.shared)
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Changes the image and queues the write that `plan` makes of it, in one step.
    async fn queue(
        &self,
        bytes: usize,
        done: Done,
        plan: impl FnOnce(&mut Image, Ticket) -> Result<Draft, StoreError>,
    ) -> Result<(), StoreError> {
        self.shared.poison.check()?;
        let place = self.writer.place(bytes).await?;
        let mut image = self.shared.image.lock();
        let ticket = image.issue();
        // A plan that fails may have changed the image, which then is not what will be written.
        let planned = self.shared.poison.guard(plan(&mut image, ticket));
        let Draft {
            changes,
            durability,
        } = planned?;
        let tip = image.tip();
        place.fill(Write {
            ticket,
            tip,
            changes,
            durability,
            done,
        });
        Ok(())
    }

    /// As [`Self::queue`], and waits until the write is done.
    async fn write(
        &self,
        bytes: usize,
        plan: impl FnOnce(&mut Image, Ticket) -> Result<Draft, StoreError>,
    ) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.queue(bytes, Done::Waiter(done), plan).await?;
        match written.await {
            Ok(result) => result,
            Err(_gone) => Err(io::Error::other("the log's writer thread is gone")),
        }
    }

    fn put_start(&self, start: LogStart) -> Result<Change, StoreError> {
        Ok(Change::Put(
            Mark::Start.key(self.shared.group),
            encode_mark(&start)?,
        ))
    }

    fn delete(&self, indexes: &Range<u64>) -> Change {
        let group = self.shared.group;
        Change::DeleteRange(
            entry::key(group, indexes.start),
            entry::key(group, indexes.end),
        )
    }
}

fn encode_mark<M: wire::Message>(mark: &M) -> Result<Vec<u8>, StoreError> {
    wire::encode(mark).map_err(|error| StoreError::Refused(error.to_string()))
}

/// Runs blocking work off the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match offload(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Refused(format!(
            "store work ended early: {error}"
        ))),
    }
}

fn half_open<RB: RangeBounds<u64>>(range: &RB) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.shared.poison.check()?;
        let bounds = self.shared.bounds();
        Ok(LogState {
            last_purged_log_id: bounds.purged,
            last_log_id: bounds.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        failpoint::pass(Point::VoteSave);
        let key = Mark::Vote.key(self.shared.group);
        let value = encode_mark(vote)?;
        let promised = (key.clone(), value.clone());
        self.write(value.len(), |image, _ticket| {
            image.vote = Some(*vote);
            let changes = vec![Change::Put(key, value)];
            let unsynced = has(Bug::VoteNotSynced);
            Ok(Draft {
                changes,
                durability: if unsynced {
                    Durability::Later
                } else {
                    Durability::Now
                },
            })
        })
        .await?;
        failpoint::pass(Point::VoteSaved);
        // Whoever is told of the vote counts on it from now on.
        self.shared.disk.promised(&promised.0, &promised.1);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        failpoint::pass(Point::CommittedSave);
        let key = Mark::Committed.key(self.shared.group);
        let value = encode_mark(&CommittedMark(committed))?;
        let queued = self.queue(value.len(), Done::Nobody, |image, _ticket| {
            image.committed = committed;
            let changes = vec![Change::Put(key, value)];
            Ok(Draft {
                changes,
                durability: Durability::Later,
            })
        });
        Ok(queued.await?)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.shared.poison.check()?;
        Ok(self.shared.image.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let value = entry::encode(&entry).map_err(StoreError::Refused)?;
            bytes += value.len();
            rows.push((entry, value));
        }
        failpoint::pass(Point::Append);
        let group = self.shared.group;
        let queued = self.queue(bytes, Done::Flushed(callback), |image, ticket| {
            let mut changes = Vec::with_capacity(rows.len() + 1);
            let mut first = image.last.is_none();
            for (entry, value) in rows {
                let key = entry::key(group, entry.log_id.index);
                image
                    .push(entry, value.len(), ticket)
                    .map_err(StoreError::Refused)?;
                changes.push(Change::Put(key, value));
                if first {
                    changes.push(self.put_start(image.start)?);
                    first = false;
                }
            }
            Ok(Draft {
                changes,
                durability: Durability::Now,
            })
        });
        Ok(queued.await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let mut removed = 0..0;
        self.write(0, |image, _ticket| {
            let gone = image.truncate(last_log_id);
            removed = gone.clone();
            let changes = if gone.is_empty() || has(Bug::TruncateInMemory) {
                vec![]
            } else {
                vec![self.delete(&gone)]
            };
            Ok(Draft {
                changes,
                durability: Durability::Now,
            })
        })
        .await?;
        self.shared.disk.promised_gone(self.shared.group, &removed);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        failpoint::pass(Point::Purge);
        self.gate.pass(log_id).await?;
        failpoint::pass(Point::PurgeFlushed);
        self.write(0, |image, _ticket| {
            let mut changes = Vec::new();
            if let Some(gone) = image.purge(log_id) {
                changes.push(self.delete(&gone));
                changes.push(self.put_start(image.start)?);
            }
            Ok(Draft {
                changes,
                durability: Durability::Now,
            })
        })
        .await?;
        failpoint::pass(Point::Purged);
        Ok(())
    }
}

impl LogReader {
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
        if let Some(entries) = self.shared.read_recent(&range)? {
            return Ok(cut(entries, bytes_max));
        }
        let shared = Arc::clone(&self.shared);
        let entries = blocking(move || shared.read(&range, bytes_max)).await?;
        Ok(cut(entries, bytes_max))
    }

    /// As much as one chunk of a range that must be there from its start.
    async fn read_chunk(&self, range: Range<u64>) -> Result<Vec<Entry>, StoreError> {
        let start = range.start;
        let entries = self.read(range, CHUNK_BYTES_MAX).await?;
        match entries.first() {
            Some(entry) if entry.log_id.index != start => Err(StoreError::Refused(format!(
                "log entries from {start} were asked for, but they are purged"
            ))),
            _ => Ok(entries),
        }
    }

    fn vote(&self) -> Result<Option<Vote>, StoreError> {
        self.shared.poison.check()?;
        Ok(self.shared.image.lock().vote)
    }

    /// Whether `leader` still leads as far as this node's vote says.
    fn check_leader(&self, leader: LeaderIdOf<TypeConfig>) -> Result<(), StreamError> {
        let vote = self.vote().map_err(io::Error::from)?;
        match vote {
            Some(vote) if vote.leader_id == leader && vote.committed => Ok(()),
            other => Err(LeaderChanged::new(leader, other).into()),
        }
    }

    async fn leader_chunk(
        &self,
        leader: LeaderIdOf<TypeConfig>,
        range: Range<u64>,
    ) -> Result<Vec<Entry>, StreamError> {
        self.check_leader(leader)?;
        let entries = self
            .read(range, CHUNK_BYTES_MAX)
            .await
            .map_err(io::Error::from)?;
        self.check_leader(leader)?;
        Ok(entries)
    }
}

type StreamError = LeaderBoundedStreamError<TypeConfig>;

/// The first entries of a read that fit into `bytes_max`, at least one.
fn cut(mut entries: Vec<Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut room = bytes_max;
    let mut fitting = 0;
    for entry in &entries {
        if room == 0 {
            break;
        }
        room = room.saturating_sub(entry_bytes(entry));
        fitting += 1;
    }
    entries.truncate(fitting);
    entries
}

fn entry_bytes(entry: &Entry) -> usize {
    const OVERHEAD_BYTES: usize = 64;
    match &entry.payload {
        openraft::EntryPayload::Normal(command) => OVERHEAD_BYTES + command.0.len(),
        _ => OVERHEAD_BYTES,
    }
}

/// Streams a range chunk by chunk. A failed chunk is the stream's last item.
fn chunks<E, F>(
    range: Range<u64>,
    read: impl Fn(Range<u64>) -> F + Send,
) -> impl Stream<Item = Result<Entry, E>> + Send
where
    F: Future<Output = Result<Vec<Entry>, E>> + Send,
    E: Send,
{
    use futures::StreamExt as _;
    let chunks = stream::unfold((range, read), |(range, read)| async move {
        if range.is_empty() {
            return None;
        }
        match read(range.clone()).await {
            Ok(entries) => {
                let next = entries.last()?.log_id.index + 1;
                let items: Vec<_> = entries.into_iter().map(Ok).collect();
                Some((items, (next..range.end, read)))
            }
            Err(error) => Some((vec![Err(error)], (range.end..range.end, read))),
        }
    });
    chunks.flat_map(stream::iter)
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderIdOf<TypeConfig>,
        range: RB,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<TypeConfig>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.clone();
        Box::pin(chunks(half_open(&range), move |range| {
            let reader = reader.clone();
            async move { reader.leader_chunk(leader, range).await }
        }))
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.clone();
        Box::pin(chunks(half_open(&range), move |range| {
            let reader = reader.clone();
            async move {
                reader
                    .read(range, CHUNK_BYTES_MAX)
                    .await
                    .map_err(io::Error::from)
            }
        }))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.read(half_open(&range), usize::MAX).await?)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote()?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        Ok(self.read_chunk(start..end).await?)
    }
}

impl LogReader {
    pub(crate) fn bounds(&self) -> super::shared::LogBounds {
        self.shared.bounds()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.shared.disk.bytes()
    }
}
