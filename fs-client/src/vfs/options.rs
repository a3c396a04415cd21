//! The bounds and times of a [`super::Vfs`].

use super::AtimeMode;
use meta_core::limits::CHUNK_BYTES;
use std::time::Duration;

/// Bounds and times; the defaults suit a mount on a machine with some GiB of memory.
#[derive(Clone, Debug)]
pub struct VfsOptions {
    /// Refuses every change.
    pub read_only: bool,
    /// How reads move access times; not at all if it is read-only.
    pub atime_mode: AtimeMode,
    /// Whether listings move those of directories as well.
    pub directory_atimes: bool,
    /// Bytes of a block: a growing slice begins to upload when it holds this much.
    pub block_bytes: u32,
    /// Written bytes that may wait for their commit; past it writers wait.
    pub dirty_bytes_max: usize,
    /// Pending slices of the whole mount; past it writers wait.
    pub dirty_slices_max: usize,
    /// Bytes of one slice, at most a chunk.
    pub slice_bytes_max: u32,
    /// A file not written to for this long is flushed.
    pub flush_idle: Duration,
    /// Written data never waits longer than this for its flush, even while writes go on.
    pub flush_age: Duration,
    /// Bytes read ahead of one handle's sequential reads; 0 turns read-ahead off.
    pub readahead_bytes: u32,
    /// Bytes read ahead for all handles together.
    pub readahead_total_bytes: u32,
    /// Bytes of cached slice tables.
    pub table_bytes: u64,
    /// Files of which the mount remembers what the kernel's page cache holds.
    pub remembered_files: usize,
    /// Lines that `.accesslog` keeps for slow readers.
    pub access_log_lines: usize,
}

impl Default for VfsOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            atime_mode: AtimeMode::default(),
            directory_atimes: true,
            block_bytes: 4 << 20,
            dirty_bytes_max: 256 << 20,
            dirty_slices_max: 4096,
            slice_bytes_max: u32::try_from(CHUNK_BYTES).expect("a chunk is 64 MiB"),
            flush_idle: Duration::from_secs(5),
            flush_age: Duration::from_secs(30),
            readahead_bytes: 16 << 20,
            readahead_total_bytes: 64 << 20,
            table_bytes: 64 << 20,
            remembered_files: 65_536,
            access_log_lines: 4096,
        }
    }
}

impl VfsOptions {
    /// Brings values that contradict each other into line.
    #[must_use]
    pub(super) fn settled(mut self) -> Self {
        let chunk = u32::try_from(CHUNK_BYTES).unwrap_or(u32::MAX);
        // A write of the largest size must always fit, with room for a second one beside it.
        self.dirty_bytes_max = self.dirty_bytes_max.clamp(4 << 20, 1 << 31);
        self.dirty_slices_max = self.dirty_slices_max.clamp(4, 1 << 20);
        // One slice never takes all memory, or every second slice would wait for the first.
        let quarter = u32::try_from(self.dirty_bytes_max / 4).unwrap_or(u32::MAX);
        self.slice_bytes_max = self.slice_bytes_max.clamp(1 << 20, chunk).min(quarter);
        self
    }
}
