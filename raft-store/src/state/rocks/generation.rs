//! One RocksDB that holds, or held, the state.

use super::Settings;
use super::layout::Layout;
use super::view::RocksView;
use crate::durable;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::record_files;
use crate::rocks::{self, Db};
use meta_core::kv::Family;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BoundColumnFamily, ColumnFamilyDescriptor,
    DBCompressionType, DataBlockIndexType, Options,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of a memtable's bytes, for a filter of its keys: ten bits for a row of a hundred bytes.
const MEMTABLE_BLOOM_RATIO: f64 = 0.0125;

/// A file is compacted soon in which so many of so many rows in a row are deletions, or such a share of all.
const DELETED_AMONG: usize = 4096;
const DELETED_MANY: usize = 2048;
const DELETED_SHARE: f64 = 0.5;

/// The families' names in RocksDB.
pub(super) const FAMILIES: [&str; 2] = ["state", "changelog"];

/// An open database. Once marked obsolete, its directory goes away with its last user.
#[derive(Debug)]
pub(crate) struct Generation {
    number: u64,
    dir: PathBuf,
    /// Only empty while it is dropped.
    db: Option<Db>,
    obsolete: AtomicBool,
}

impl Generation {
    /// Opens the directory of generation `number`, or makes it.
    pub(super) fn open(
        layout: &Layout,
        number: u64,
        settings: &Settings,
    ) -> Result<Self, StoreError> {
        let dir = layout.generation(number);
        let families = FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, family(settings)));
        let mut options = family(settings);
        options.set_atomic_flush(true);
        record_files::check(&dir)?;
        let db = Db::open_cf_descriptors(&options, &dir, families);
        let db = rocks::open_error(&dir, db)?;
        durable::sync_parent(&dir)?;
        Ok(Self {
            number,
            dir,
            db: Some(db),
            obsolete: AtomicBool::new(false),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn db(&self) -> &Db {
        self.db
            .as_ref()
            .expect("the database is only taken when this is dropped")
    }

    pub(super) fn family(&self, family: Family) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        find_family(self.db(), family)
    }

    /// The rows as of now.
    pub(super) fn view<'a>(&'a self, poison: &'a Poison) -> RocksView<'a> {
        RocksView::pinned(self.db(), poison)
    }

    /// The rows as they change.
    pub(super) fn latest<'a>(&'a self, poison: &'a Poison) -> RocksView<'a> {
        RocksView::latest(self.db(), poison)
    }

    pub(super) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        drop(self.db.take());
        if self.obsolete.load(Ordering::Acquire)
            && let Err(error) = durable::remove_dir(&self.dir)
        {
            // It only costs space, and the next start removes it.
            tracing::warn!(%error, "an old state stays until the next start");
        }
    }
}

pub(super) fn find_family(
    db: &Db,
    family: Family,
) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
    let name = match family {
        Family::State => FAMILIES[0],
        Family::Changelog => FAMILIES[1],
    };
    db.cf_handle(name)
        .ok_or_else(|| StoreError::damaged("state", format!("it has no family {name}")))
}

fn family(settings: &Settings) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&settings.cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // A table of small rows has millions: one filter of all of them is larger than the part of the cache
    // that it would have to fit into, and would be read and checked anew for each row that is looked for.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = rocks::common_options();
    options.create_missing_column_families(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(settings.memtable_bytes);
    options.set_db_write_buffer_size(settings.memtable_bytes);
    // Most commands look for rows that are not there, or not in memory.
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    options.set_memtable_whole_key_filtering(true);
    // On all levels the same: zstd for the last one made a compaction, which takes a processor from those who
    // wait for an answer, a third longer for the state and twice as long for the changelog.
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    // Whoever lists a table passes by the rows that were deleted from it until they are compacted away.
    options.add_compact_on_deletion_collector_factory(DELETED_AMONG, DELETED_MANY, DELETED_SHARE);
    options
}
