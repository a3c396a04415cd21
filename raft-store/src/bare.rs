//! The state's database without a log, and a log without a state, for benchmarks: what each costs alone.

use crate::error::StoreError;
use crate::fault::Faults;
use crate::log::{FileLog, LogDisk, LogShared, LogStore, PurgeGate, RocksLog};
use crate::options::StoreOptions;
use crate::poison::Poison;
use crate::state::{Remembered, RocksState};
use crate::workers::Workers;
use meta_core::kv::{Family, KvRead, Writes};
use std::path::Path;
use std::sync::Arc;

/// What a log is kept in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKind {
    /// Files, as nodes have it.
    Files,
    /// RocksDB, as nodes had it before (`docs/adr/0001-log-files.md`).
    Database,
}

/// Opens a log that no state belongs to, in a directory of its own.
///
/// # Errors
/// [`StoreError`] if it cannot be opened.
pub fn open_log(options: &StoreOptions, kind: LogKind) -> Result<LogStore, StoreError> {
    let dir = options.dir.join("log");
    let disk = match kind {
        LogKind::Files => {
            let files = FileLog::open(&dir, options.group, options.log_file_bytes)?;
            LogDisk::Files(Box::new(files))
        }
        LogKind::Database => LogDisk::Rocks(RocksLog::open(&dir)?),
    };
    let log = LogShared::load(
        disk,
        options.group,
        options.log_tail_bytes,
        Poison::default(),
        Faults::default(),
    )?;
    let queue_bytes = options.queue_bytes;
    LogStore::new(
        Arc::new(log),
        queue_bytes,
        PurgeGate::Open,
        Workers::Threads,
    )
}

/// Bytes of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableBytes {
    /// Of the rows.
    pub state: u64,
    /// Of the changelog.
    pub changelog: u64,
}

/// A database with a node's settings. Nothing in it outlives a crash.
#[derive(Debug)]
pub struct BareState {
    rocks: RocksState,
    memory: Remembered,
    poison: Poison,
}

impl BareState {
    /// Makes one in an empty directory.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, true)
    }

    /// Opens the one of a node that does not run.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be opened.
    pub fn reopen(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, false)
    }

    fn open_with(dir: &Path, fresh: bool) -> Result<Self, StoreError> {
        Ok(Self {
            rocks: RocksState::open(&StoreOptions::new(dir), fresh, Faults::default())?,
            memory: Remembered::default(),
            poison: Poison::default(),
        })
    }

    /// Reads as the thread does that applies commands.
    pub fn latest<R>(&self, read: impl FnOnce(&dyn KvRead) -> R) -> R {
        self.rocks
            .latest(&self.poison, |rows| read(&self.memory.over(rows)))
    }

    /// Writes one batch.
    ///
    /// # Errors
    /// [`StoreError::Rocks`] if it cannot be written.
    pub fn write(&self, writes: Writes) -> Result<(), StoreError> {
        // A write that fails leaves no row that can be relied on.
        self.memory.note(&writes);
        let written = self.rocks.write(writes);
        self.poison.guard(written)
    }

    /// Bytes of the files that rows are in, without what is still in memory.
    ///
    /// # Errors
    /// [`StoreError::Rocks`] if they cannot be had.
    pub fn table_bytes(&self) -> Result<TableBytes, StoreError> {
        Ok(TableBytes {
            state: self.rocks.table_bytes(Family::State)?,
            changelog: self.rocks.table_bytes(Family::Changelog)?,
        })
    }

    /// Rewrites all rows, so that nothing is there twice.
    ///
    /// # Errors
    /// [`StoreError::Rocks`] if they cannot be written.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.rocks.compact()
    }
}
