//! The log's rows in their own RocksDB, whose write-ahead log is what makes them durable: what nodes had
//! before they had files. It is opened to be put into files, and by benchmarks beside them.

use super::disk::{Change, Durability, Ends};
use super::hint::{Hint, Tip};
use crate::durable;
use crate::error::StoreError;
use crate::record_files;
use crate::rocks::{self, Db};
use meta_core::failpoint::{self, Point};
use parking_lot::Mutex;
use rocksdb::WriteOptions;
use rocksdb::{DBRecoveryMode, ReadOptions, SnapshotWithThreadMode, WriteBatch};
use std::path::{Path, PathBuf};

/// The memtable, in bytes: the size of each write-ahead file, too.
const MEMTABLE_BYTES: usize = 32 << 20;

/// An open log database. Its lock file keeps a second process out of the whole store.
#[derive(Debug)]
pub(crate) struct RocksLog {
    db: Db,
    dir: PathBuf,
    hint: Mutex<Hint>,
}

/// The rows at one moment.
pub(crate) struct RocksLogSnapshot<'a>(SnapshotWithThreadMode<'a, Db>);

impl RocksLog {
    /// Opens or makes the database in `dir`, and the hint beside it.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        durable::make_dir(dir)?;
        let mut options = rocks::common_options();
        options.set_write_buffer_size(MEMTABLE_BYTES);
        // A record cut off at the very end is a write that was never acknowledged. Anything else
        // that does not check out is damage, and the database refuses to open.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        record_files::check(dir)?;
        let db = rocks::open_error(dir, Db::open(&options, dir))?;
        let hint = Mutex::new(Hint::open(&dir.with_extension("hint"))?);
        Ok(Self {
            hint,
            db,
            dir: dir.to_path_buf(),
        })
    }

    pub(crate) fn write(
        &self,
        changes: &[Change],
        durability: Durability,
        ends: Ends,
    ) -> Result<(), StoreError> {
        let mut hint = self.hint.lock();
        hint.lower(ends.lowest)?;
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put(key, value) => batch.put(key, value),
                Change::DeleteRange(begin, end) => batch.delete_range(begin, end),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Now);
        self.db
            .write_opt(batch, &options)
            .map_err(rocks::error("write the log"))?;
        failpoint::pass(Point::LogSynced);
        match durability {
            Durability::Now => hint.raise(ends.after),
            Durability::Later => Ok(()),
        }
    }

    pub(crate) fn check_end(&self, found: Tip) -> Result<(), StoreError> {
        self.hint.lock().tip().check(found)
    }

    pub(crate) fn snapshot(&self) -> RocksLogSnapshot<'_> {
        RocksLogSnapshot(self.db.snapshot())
    }

    pub(crate) fn bytes(&self) -> u64 {
        durable::dir_bytes(&self.dir)
    }
}

impl RocksLogSnapshot<'_> {
    pub(crate) fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        visit: &mut meta_core::kv::Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end.to_vec());
        let mut rows = self.0.raw_iterator_opt(options);
        rows.seek(begin);
        while let Some((key, value)) = rows.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(rocks::error("read the log"))
    }
}
