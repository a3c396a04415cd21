//! Consistent views of the state for queries, and the store's sizes.

use super::lasting::LastingView;
#[cfg(feature = "rocksdb")]
use super::rocks::RocksView;
use super::store::State;
use crate::error::StoreError;
use crate::log::LogReader;
use crate::poison::Poison;
use crate::types::LogId;
use meta_core::ids::VolumeId;
use meta_core::kv::{Family, KvRead, MemKv, Visit};
use meta_core::outcome::{Fatal, Token};
use std::sync::Arc;
use tokio::sync::watch;

/// The state, to be read from anywhere in the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StateReader {
    pub(crate) state: Arc<State>,
    log: LogReader,
    poison: Poison,
}

/// The rows as of one moment.
#[derive(Debug)]
pub struct View<'a>(Rows<'a>);

#[derive(Debug)]
enum Rows<'a> {
    #[cfg(feature = "rocksdb")]
    Rocks(RocksView<'a>),
    Memory(&'a MemKv),
}

/// How large a store is and how far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreStats {
    /// The last entry in the log.
    pub log_last: Option<LogId>,
    /// The last entry removed from the log.
    pub log_purged: Option<LogId>,
    /// Entries in the log.
    pub log_entries: u64,
    /// The log's files.
    pub log_bytes: u64,
    /// The last entry applied.
    pub applied: Option<LogId>,
    /// The last entry that would still be applied after a crash.
    pub flushed: Option<LogId>,
    /// The state's files.
    pub state_bytes: u64,
    /// The current snapshot; its files are mostly shared with the state's.
    pub snapshot_bytes: u64,
    /// What the file system has left; `None` for a store in memory.
    pub free_bytes: Option<u64>,
}

impl StateReader {
    pub(crate) fn new(state: Arc<State>, log: LogReader, poison: Poison) -> Self {
        Self { state, log, poison }
    }

    /// Calls `read` with the rows as of now. Writes go on meanwhile and are not seen. It blocks
    /// on the disk where rows are not in memory: use a blocking thread for what may take long.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store has stopped.
    pub fn with_view<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R, Fatal> {
        self.state.with_view(read)
    }

    /// The rows as of now, to be asked for as long as it takes: writes go on beside it, and what
    /// they replace is kept for it. Blocks for a moment.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store has stopped.
    pub fn lasting_view(&self) -> Result<LastingView, Fatal> {
        self.poison
            .check()
            .map_err(Fatal::from)
            .and_then(|()| LastingView::take(&self.state))
    }

    /// Calls `read` with the rows as they were right after a mark of a volume; `None` if that view
    /// is not kept here, or not any more.
    pub async fn with_marked_view<R: Send + 'static>(
        &self,
        volume: VolumeId,
        mark: Token,
        read: impl FnOnce(&View<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        self.state.marked().read(volume, mark, read).await
    }

    /// Changes whenever entries were applied; a view taken after a change shows them.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.state.changes()
    }

    /// The last entry that views include.
    pub fn applied(&self) -> Option<LogId> {
        self.state.applied()
    }

    /// The store's mark of failure.
    pub fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Sizes and positions, for metrics and the free-space check. It looks at files: call it
    /// every few seconds, not for every request.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let bounds = self.log.bounds();
        let (state_bytes, snapshot_bytes, free_bytes) = self.state.sizes();
        Ok(StoreStats {
            log_last: bounds.last,
            log_purged: bounds.purged,
            log_entries: bounds.entries,
            log_bytes: self.log.bytes(),
            applied: self.state.applied(),
            flushed: self.state.flushed()?,
            state_bytes,
            snapshot_bytes,
            free_bytes,
        })
    }
}

impl<'a> View<'a> {
    pub(crate) fn memory(rows: &'a MemKv) -> Self {
        Self(Rows::Memory(rows))
    }

    #[cfg(feature = "rocksdb")]
    pub(crate) fn rocks(rows: RocksView<'a>) -> Self {
        Self(Rows::Rocks(rows))
    }
}

impl KvRead for View<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        match &self.0 {
            #[cfg(feature = "rocksdb")]
            Rows::Rocks(rows) => rows.get(family, key),
            Rows::Memory(rows) => rows.get(family, key),
        }
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        match &self.0 {
            #[cfg(feature = "rocksdb")]
            Rows::Rocks(rows) => rows.scan(family, begin, end, visit),
            Rows::Memory(rows) => rows.scan(family, begin, end, visit),
        }
    }
}
