//! The state over either back end, and the position that its rows stand for.

use super::marked::MarkedViews;
use super::marks::AppliedState;
use super::memory::MemoryState;
use super::reader::View;
#[cfg(feature = "rocksdb")]
use super::rocks::RocksState;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::snapshot::{SnapshotFiles, SnapshotReceiver};
use crate::types::{LogId, SnapshotMeta};
use meta_core::kv::{KvRead, Writes};
use meta_core::outcome::Fatal;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Where the rows are.
#[derive(Debug)]
pub(crate) enum Backend {
    #[cfg(feature = "rocksdb")]
    Rocks(RocksState),
    Memory(MemoryState),
}

/// The rows and their position.
#[derive(Debug)]
pub(crate) struct State {
    backend: Backend,
    position: Mutex<AppliedState>,
    /// The index of the last entry applied, for whoever waits for it.
    changes: watch::Sender<u64>,
    marked: MarkedViews,
    poison: Poison,
}

impl State {
    /// Reads the position of the rows there are.
    pub(crate) fn new(backend: Backend, poison: Poison) -> Result<Self, StoreError> {
        let state = Self {
            backend,
            position: Mutex::default(),
            changes: watch::Sender::new(0),
            marked: MarkedViews::default(),
            poison,
        };
        let position = state.latest(|rows| AppliedState::read(rows))?;
        state.set_position(position);
        Ok(state)
    }

    fn set_position(&self, position: AppliedState) {
        let index = position.applied.map_or(0, |id| id.index);
        *self.position.lock() = position;
        self.changes.send_replace(index);
    }

    /// Changes with every write.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn marked(&self) -> &MarkedViews {
        &self.marked
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn position(&self) -> AppliedState {
        self.position.lock().clone()
    }

    pub(crate) fn applied(&self) -> Option<LogId> {
        self.position.lock().applied
    }

    /// Reads the rows as they are, for the one thread that changes them.
    pub(crate) fn latest<R>(&self, read: impl FnOnce(&dyn KvRead) -> R) -> R {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.latest(&self.poison, read),
            Backend::Memory(memory) => memory.with_rows(|rows| read(rows)),
        }
    }

    /// Reads the rows as of one moment, whatever is written meanwhile.
    pub(crate) fn with_view<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R, Fatal> {
        self.poison.check()?;
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => Ok(rocks.with_view(&self.poison, read)),
            Backend::Memory(memory) => Ok(memory.with_rows(|rows| read(&View::memory(rows)))),
        }
    }

    /// Makes the writes, which must hold the rows of `position`.
    pub(crate) fn write(&self, writes: Writes, position: AppliedState) -> Result<(), StoreError> {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.write(writes)?,
            Backend::Memory(memory) => memory.write(writes),
        }
        self.set_position(position);
        Ok(())
    }

    /// The position that a restart would begin from.
    pub(crate) fn flushed(&self) -> Result<Option<LogId>, StoreError> {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.flushed(),
            Backend::Memory(memory) => Ok(memory.flushed()?.applied),
        }
    }

    /// Makes sure that a restart would begin at `upto` or later.
    pub(crate) fn flush_up_to(&self, upto: LogId) -> Result<(), StoreError> {
        self.poison.check()?;
        let reached = |at: Option<LogId>| at.is_some_and(|at| at.index >= upto.index);
        if !reached(self.applied()) {
            return Err(StoreError::Refused(format!(
                "the log cannot be purged up to {upto}: only {:?} is applied",
                self.applied()
            )));
        }
        if reached(self.poison.guard(self.flushed())?) {
            return Ok(());
        }
        let flushed = self.flush().and_then(|()| self.flushed());
        if reached(self.poison.guard(flushed)?) {
            return Ok(());
        }
        let short = StoreError::Refused(format!("a flush of the state did not reach {upto}"));
        self.poison.guard(Err(short))
    }

    fn flush(&self) -> Result<(), StoreError> {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.flush(),
            Backend::Memory(memory) => {
                memory.flush();
                Ok(())
            }
        }
    }

    pub(crate) fn current_snapshot(&self) -> Option<SnapshotFiles> {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.current_snapshot(),
            Backend::Memory(memory) => memory.current_snapshot(),
        }
    }

    /// Takes a snapshot while writes go on.
    pub(crate) fn build_snapshot(&self) -> Result<SnapshotFiles, StoreError> {
        self.poison.check()?;
        let built = match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.build_snapshot(&self.poison),
            Backend::Memory(memory) => memory.build_snapshot(),
        };
        self.poison.guard(built)
    }

    /// Replaces all rows by those of a snapshot. A snapshot that does not check out is refused,
    /// and changes nothing.
    pub(crate) fn install(
        &self,
        meta: &SnapshotMeta,
        files: SnapshotFiles,
    ) -> Result<(), StoreError> {
        self.poison.check()?;
        files.manifest().check_meta(meta)?;
        let installed = match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.install(&self.poison, files),
            Backend::Memory(memory) => memory.install(files),
        };
        self.set_position(installed?);
        Ok(())
    }

    pub(crate) fn receive(&self) -> Result<SnapshotReceiver, StoreError> {
        self.poison.check()?;
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.receive(),
            Backend::Memory(_) => Ok(SnapshotReceiver::in_memory()),
        }
    }

    /// Bytes of the rows, bytes of the snapshot, and free bytes of the file system.
    pub(crate) fn sizes(&self) -> (u64, u64, Option<u64>) {
        match &self.backend {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(rocks) => rocks.sizes(),
            Backend::Memory(memory) => {
                let snapshot = memory
                    .current_snapshot()
                    .map_or(0, |files| files.total_bytes());
                (memory.bytes(), snapshot, None)
            }
        }
    }
}
