//! What a store is opened with.

use std::path::PathBuf;

/// Where a node keeps its store and how much memory the store may use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory; made if absent. The files of `log` and the RocksDB instance `state` live in it.
    pub dir: PathBuf,
    /// The Raft group whose log this is: the first part of each log key.
    pub group: u32,
    /// The block cache of the state, in bytes.
    pub cache_bytes: usize,
    /// Recent log entries kept in memory for replication and apply, in bytes.
    pub log_tail_bytes: usize,
    /// Writes that may wait for the log's writer thread, in bytes; more make the proposer wait.
    pub queue_bytes: usize,
    /// The state's memtables, in bytes: what at most is replayed from the log after a crash.
    pub memtable_bytes: usize,
    /// A file of the log, in bytes. A few of them are kept to be written over.
    pub log_file_bytes: u64,
}

impl StoreOptions {
    /// A store in `dir` with sizes for a small node.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            group: 0,
            cache_bytes: 256 << 20,
            log_tail_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            log_file_bytes: 16 << 20,
        }
    }
}
