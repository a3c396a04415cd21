//! The state in RocksDB: one directory per generation, and a pointer to the current one.
//!
//! ```text
//! DIR/state/CURRENT            an envelope with the number of the current generation
//! DIR/state/gen-0000000001/    a RocksDB without write-ahead log; the Raft log replays
//! DIR/snapshots/snapshot-N/    a finished checkpoint and its manifest
//! DIR/snapshots/building-N/    a checkpoint in the making     (removed at start)
//! DIR/snapshots/incoming-N/    a snapshot being received      (removed at start)
//! ```

use super::marks::{self, AppliedState};
use super::reader::View;
use crate::error::StoreError;
use crate::fault::Faults;
use crate::options::StoreOptions;
use crate::poison::Poison;
use crate::snapshot::{FileEntry, SnapshotFiles, SnapshotReceiver};
use crate::types::LogId;
use crate::{durable, rocks};
use generation::Generation;
use layout::Layout;
use meta_core::failpoint::{self, Point};
use meta_core::kv::{Family, KvRead, Writes};
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BottommostLevelCompaction, Cache, CompactOptions, FlushOptions, ReadOptions, ReadTier,
    WriteBatch, WriteOptions, properties,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod build;
mod generation;
mod install;
mod layout;
mod view;

pub(crate) use view::RocksView;

/// The open state.
#[derive(Debug)]
pub(crate) struct RocksState {
    layout: Layout,
    settings: Settings,
    current: RwLock<Arc<Generation>>,
    snapshot: Mutex<Option<SnapshotFiles>>,
    /// Crcs of immutable files of the last snapshot, so that the next one reads only new files.
    hashed: Mutex<BTreeMap<(u64, String), FileEntry>>,
    next_number: AtomicU64,
    faults: Faults,
}

/// What every generation is opened with.
pub(crate) struct Settings {
    pub(crate) cache: Cache,
    pub(crate) memtable_bytes: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("memtable_bytes", &self.memtable_bytes)
            .finish()
    }
}

impl RocksState {
    /// Opens the current generation and removes what an interrupted run left. The caller holds
    /// the store's lock. `fresh` says that the log never gave anything away, so that a state
    /// may be begun from nothing.
    pub(crate) fn open(
        options: &StoreOptions,
        fresh: bool,
        faults: Faults,
    ) -> Result<Self, StoreError> {
        let layout = Layout::open(&options.dir)?;
        let settings = Settings {
            cache: Cache::new_lru_cache(options.cache_bytes),
            memtable_bytes: options.memtable_bytes,
        };
        let current = match layout.read_current()? {
            Some(number) => Generation::open(&layout, number, &settings)?,
            None if fresh => {
                durable::remove_dir(&layout.generation(1))?;
                let first = Generation::open(&layout, 1, &settings)?;
                failpoint::pass(Point::StateMade);
                layout.write_current(1)?;
                first
            }
            None => {
                let why = "state/CURRENT is missing, and the log alone cannot rebuild the state";
                return Err(StoreError::damaged("state", why));
            }
        };
        layout.remove_other_generations(current.number())?;
        let applied = AppliedState::read(&current.latest(&Poison::default()))?.applied;
        let (snapshot, next_number) = layout.find_snapshot(applied)?;
        Ok(Self {
            layout,
            settings,
            current: RwLock::new(Arc::new(current)),
            snapshot: Mutex::new(snapshot),
            hashed: Mutex::default(),
            next_number: AtomicU64::new(next_number),
            faults,
        })
    }

    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read())
    }

    fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn latest<R>(&self, poison: &Poison, read: impl FnOnce(&dyn KvRead) -> R) -> R {
        let generation = self.generation();
        read(&generation.latest(poison))
    }

    pub(crate) fn with_view<R>(&self, poison: &Poison, read: impl FnOnce(&View<'_>) -> R) -> R {
        let generation = self.generation();
        read(&View::rocks(generation.view(poison)))
    }

    pub(crate) fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let generation = self.generation();
        let mut batch = WriteBatch::default();
        for ((family, key), value) in writes {
            let family = generation.family(family)?;
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        generation
            .db()
            .write_opt(batch, &options)
            .map_err(rocks::error("write the state"))
    }

    /// The applied row as it is in the files. The flush is atomic over the families, so all
    /// effects up to it are in the files, too.
    pub(crate) fn flushed(&self) -> Result<Option<LogId>, StoreError> {
        let generation = self.generation();
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        let family = generation.family(Family::State)?;
        let row = generation
            .db()
            .get_cf_opt(&family, marks::applied_key(), &options);
        marks::read_applied(row.map_err(rocks::error("read the flushed position"))?)
    }

    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let generation = self.generation();
        let state = generation.family(Family::State)?;
        let changelog = generation.family(Family::Changelog)?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let flushed = generation
            .db()
            .flush_cfs_opt(&[&state, &changelog], &options);
        flushed.map_err(rocks::error("flush the state"))
    }

    /// Bytes of the files with a family's rows.
    pub(crate) fn table_bytes(&self, family: Family) -> Result<u64, StoreError> {
        let generation = self.generation();
        let family = generation.family(family)?;
        let asked = generation
            .db()
            .property_int_value_cf(&family, properties::TOTAL_SST_FILES_SIZE);
        Ok(asked.map_err(rocks::error("ask for sizes"))?.unwrap_or(0))
    }

    /// Rewrites all rows into the last level.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let generation = self.generation();
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in [Family::State, Family::Changelog] {
            let family = generation.family(family)?;
            let all = None::<&[u8]>;
            generation
                .db()
                .compact_range_cf_opt(&family, all, all, &options);
        }
        Ok(())
    }

    pub(crate) fn current_snapshot(&self) -> Option<SnapshotFiles> {
        self.snapshot.lock().clone()
    }

    /// Makes `files` the current snapshot unless there is a later one, and gives the current.
    fn keep_snapshot(&self, files: SnapshotFiles) -> SnapshotFiles {
        let mut current = self.snapshot.lock();
        if let Some(kept) = &*current
            && kept.manifest().applied > files.manifest().applied
        {
            retire(&files);
            return kept.clone();
        }
        if let Some(old) = current.replace(files.clone()) {
            retire(&old);
        }
        if let Some(dir) = files.dir() {
            dir.set_obsolete(false);
        }
        files
    }

    pub(crate) fn receive(&self) -> Result<SnapshotReceiver, StoreError> {
        let number = self.take_number();
        SnapshotReceiver::in_dir(self.layout.incoming(number), self.layout.snapshot(number))
    }

    pub(crate) fn sizes(&self) -> (u64, u64, Option<u64>) {
        let state = durable::dir_bytes(self.generation().dir());
        let snapshot = self
            .current_snapshot()
            .map_or(0, |files| files.total_bytes());
        (state, snapshot, self.layout.free_bytes())
    }
}

/// Lets the files go when their last user has.
fn retire(files: &SnapshotFiles) {
    if let Some(dir) = files.dir() {
        dir.set_obsolete(true);
    }
}
