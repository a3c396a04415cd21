//! The state's database without a log, for benchmarks: what its rows alone cost.

use crate::error::StoreError;
use crate::fault::Faults;
use crate::options::StoreOptions;
use crate::poison::Poison;
use crate::state::{Remembered, RocksState};
use meta_core::kv::{KvRead, Writes};
use std::path::Path;

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
        Ok(Self {
            rocks: RocksState::open(&StoreOptions::new(dir), true, Faults::default())?,
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
}
