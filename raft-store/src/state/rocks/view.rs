//! Rows read from RocksDB.

use super::generation::find_family;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::rocks::Db;
use meta_core::kv::{Family, KvRead, Visit};
use meta_core::outcome::Fatal;
use rocksdb::{BoundColumnFamily, ReadOptions, SnapshotWithThreadMode};
use std::sync::Arc;

/// The rows of one database, pinned at one moment or as they change. A failed read stops the
/// store.
pub(crate) struct RocksView<'a> {
    db: &'a Db,
    pinned: Option<SnapshotWithThreadMode<'a, Db>>,
    /// Made once, as nearly every view is asked for several rows of the state.
    state: Result<Arc<BoundColumnFamily<'a>>, StoreError>,
    options: ReadOptions,
    poison: &'a Poison,
}

impl std::fmt::Debug for RocksView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sequence = self
            .pinned
            .as_ref()
            .map(SnapshotWithThreadMode::sequence_number);
        f.debug_struct("RocksView")
            .field("sequence", &sequence)
            .finish_non_exhaustive()
    }
}

impl<'a> RocksView<'a> {
    pub(super) fn pinned(db: &'a Db, poison: &'a Poison) -> Self {
        Self::new(db, Some(db.snapshot()), poison)
    }

    pub(super) fn latest(db: &'a Db, poison: &'a Poison) -> Self {
        Self::new(db, None, poison)
    }

    fn new(db: &'a Db, pinned: Option<SnapshotWithThreadMode<'a, Db>>, poison: &'a Poison) -> Self {
        Self {
            db,
            state: find_family(db, Family::State),
            options: options(pinned.as_ref()),
            pinned,
            poison,
        }
    }

    /// Calls `with` with a family.
    fn in_family<R>(
        &self,
        family: Family,
        with: impl FnOnce(&Arc<BoundColumnFamily<'a>>) -> R,
    ) -> Result<R, Fatal> {
        match (family, &self.state) {
            (Family::State, Ok(state)) => Ok(with(state)),
            _ => Ok(with(&find_family(self.db, family)?)),
        }
    }

    fn fail(&self, error: &rocksdb::Error) -> Fatal {
        let reason = format!("RocksDB failed to read the state: {error}");
        self.poison.set(reason.clone());
        Fatal::Store(reason)
    }
}

fn options(pinned: Option<&SnapshotWithThreadMode<'_, Db>>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(pinned) = pinned {
        options.set_snapshot(pinned);
    }
    options
}

impl KvRead for RocksView<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        let got = self.in_family(family, |family| {
            self.db.get_cf_opt(family, key, &self.options)
        })?;
        got.map_err(|error| self.fail(&error))
    }

    fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fatal> {
        let is_sorted = false;
        let got = self.in_family(family, |family| {
            self.db
                .batched_multi_get_cf_opt(family, keys, is_sorted, &self.options)
        })?;
        let rows = got.into_iter().map(|got| match got {
            Ok(row) => Ok(row.map(|row| row.to_vec())),
            Err(error) => Err(self.fail(&error)),
        });
        rows.collect()
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        if begin >= end {
            return Ok(());
        }
        let mut options = options(self.pinned.as_ref());
        options.set_iterate_upper_bound(end.to_vec());
        let mut rows = self.in_family(family, |family| {
            self.db.raw_iterator_cf_opt(family, options)
        })?;
        rows.seek(begin);
        while let Some((key, value)) = rows.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|error| self.fail(&error))
    }
}
