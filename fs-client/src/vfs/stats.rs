//! Counters of a mount, as text for `.stats`.

use super::{Compacted, VfsError};
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

macro_rules! ops {
    ($($op:ident => $name:literal),+ $(,)?) => {
        /// The kinds of requests that are counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "each is the operation of its name")]
        pub enum Op { $($op),+ }

        impl Op {
            const NAMES: &[&str] = &[$($name),+];

            /// Its name in `.stats` and `.accesslog`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$op => $name),+ }
            }
        }
    };
}

ops! {
    Lookup => "lookup", GetAttr => "getattr", SetAttr => "setattr", ReadLink => "readlink",
    Mknod => "mknod", Mkdir => "mkdir", Unlink => "unlink", Rmdir => "rmdir",
    Symlink => "symlink", Rename => "rename", Link => "link", Open => "open",
    Create => "create", Read => "read", Write => "write", Flush => "flush",
    Release => "release", Fsync => "fsync", OpenDir => "opendir", ReadDir => "readdir",
    ReadDirPlus => "readdirplus", ReleaseDir => "releasedir", StatFs => "statfs",
    SetXattr => "setxattr", GetXattr => "getxattr", ListXattr => "listxattr",
    RemoveXattr => "removexattr", Fallocate => "fallocate", Lseek => "lseek",
    Access => "access", GetLock => "getlk", SetLock => "setlk",
    CopyFileRange => "copy_file_range",
}

impl Op {
    /// Whether a request of this kind may change something, or tells whether that is stored.
    pub fn changes(self) -> bool {
        match self {
            Self::Lookup
            | Self::GetAttr
            | Self::ReadLink
            | Self::Open
            | Self::Read
            | Self::OpenDir
            | Self::ReadDir
            | Self::ReadDirPlus
            | Self::StatFs
            | Self::GetXattr
            | Self::ListXattr
            | Self::Lseek
            | Self::Access
            | Self::GetLock => false,
            Self::SetAttr
            | Self::Mknod
            | Self::Mkdir
            | Self::Unlink
            | Self::Rmdir
            | Self::Symlink
            | Self::Rename
            | Self::Link
            | Self::Create
            | Self::Write
            | Self::Flush
            | Self::Release
            | Self::Fsync
            | Self::ReleaseDir
            | Self::SetXattr
            | Self::RemoveXattr
            | Self::Fallocate
            | Self::SetLock
            | Self::CopyFileRange => true,
        }
    }
}

#[derive(Debug, Default)]
struct OpCounter {
    count: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
}

/// Counters since the mount.
#[derive(Debug)]
pub struct Stats {
    ops: Vec<OpCounter>,
    pub(super) read_bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) uploaded_bytes: AtomicU64,
    pub(super) uploaded_slices: AtomicU64,
    pub(super) upload_failures: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) committed_slices: AtomicU64,
    pub(super) lost_bytes: AtomicU64,
    pub(super) pressure_rounds: AtomicU64,
    pub(super) table_hits: AtomicU64,
    pub(super) table_misses: AtomicU64,
    pub(super) readahead_hits: AtomicU64,
    backups: AtomicU64,
    backup_failures: AtomicU64,
    compacted_chunks: AtomicU64,
    compacted_slices: AtomicU64,
    compacted_slices_left: AtomicU64,
    compacted_bytes: AtomicU64,
    compaction_failures: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            ops: Op::NAMES.iter().map(|_| OpCounter::default()).collect(),
            read_bytes: AtomicU64::default(),
            written_bytes: AtomicU64::default(),
            uploaded_bytes: AtomicU64::default(),
            uploaded_slices: AtomicU64::default(),
            upload_failures: AtomicU64::default(),
            commits: AtomicU64::default(),
            committed_slices: AtomicU64::default(),
            lost_bytes: AtomicU64::default(),
            pressure_rounds: AtomicU64::default(),
            table_hits: AtomicU64::default(),
            table_misses: AtomicU64::default(),
            readahead_hits: AtomicU64::default(),
            backups: AtomicU64::default(),
            backup_failures: AtomicU64::default(),
            compacted_chunks: AtomicU64::default(),
            compacted_slices: AtomicU64::default(),
            compacted_slices_left: AtomicU64::default(),
            compacted_bytes: AtomicU64::default(),
            compaction_failures: AtomicU64::default(),
            last_error: Mutex::default(),
        }
    }
}

impl Stats {
    /// Counts a request.
    pub fn count(&self, op: Op, took: Duration, failed: bool) {
        if let Some(counter) = self.ops.get(op as usize) {
            counter.count.fetch_add(1, Relaxed);
            counter.errors.fetch_add(u64::from(failed), Relaxed);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            counter.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// Counts a backup of the volume's metadata that was given to this mount.
    pub fn count_backup(&self, done: bool) {
        let counter = if done {
            &self.backups
        } else {
            &self.backup_failures
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Backups of the volume's metadata: made, and failed.
    pub fn backups(&self) -> (u64, u64) {
        (
            self.backups.load(Relaxed),
            self.backup_failures.load(Relaxed),
        )
    }

    /// Counts what was done to the slices of a chunk, and whether they were left as they are before that
    /// came to its end.
    pub(super) fn count_compaction(&self, done: Compacted, is_left: bool) {
        for (counter, count) in [
            (&self.compacted_chunks, done.chunks),
            (&self.compacted_slices, done.slices_before),
            (&self.compacted_slices_left, done.slices_after),
            (&self.compacted_bytes, done.bytes),
            (&self.compaction_failures, u64::from(is_left)),
        ] {
            counter.fetch_add(count, Relaxed);
        }
    }

    /// What was done to the slices of chunks, and how often one was left as it is.
    pub fn compactions(&self) -> (Compacted, u64) {
        let done = Compacted {
            chunks: self.compacted_chunks.load(Relaxed),
            slices_before: self.compacted_slices.load(Relaxed),
            slices_after: self.compacted_slices_left.load(Relaxed),
            bytes: self.compacted_bytes.load(Relaxed),
        };
        (done, self.compaction_failures.load(Relaxed))
    }

    /// Keeps an error for `.status`.
    pub fn note_error(&self, error: &VfsError) {
        *self.last_error.lock() = Some(error.to_string());
    }

    /// The last error of background work or of a block read.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Commits done.
    pub fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }

    /// Reads answered from what was read ahead.
    pub fn readahead_hits(&self) -> u64 {
        self.readahead_hits.load(Relaxed)
    }

    /// The counters in Prometheus' text format. `gauges` are added by whoever knows them.
    pub fn text(&self, gauges: &[(&str, u64)]) -> String {
        let mut text = String::new();
        let mut line = |name: &str, label: &str, value: f64| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "curlew_{name}{label} {value}");
        };
        for (op, name) in self.ops.iter().zip(Op::NAMES) {
            let count = op.count.load(Relaxed);
            if count > 0 {
                let label = format!("{{op=\"{name}\"}}");
                line("fuse_ops_total", &label, count as f64);
                line(
                    "fuse_op_errors_total",
                    &label,
                    op.errors.load(Relaxed) as f64,
                );
                let seconds = op.nanos.load(Relaxed) as f64 / 1e9;
                line("fuse_op_seconds_total", &label, seconds);
            }
        }
        for (name, value) in [
            ("read_bytes_total", &self.read_bytes),
            ("written_bytes_total", &self.written_bytes),
            ("uploaded_bytes_total", &self.uploaded_bytes),
            ("uploaded_slices_total", &self.uploaded_slices),
            ("upload_failures_total", &self.upload_failures),
            ("commits_total", &self.commits),
            ("committed_slices_total", &self.committed_slices),
            ("lost_bytes_total", &self.lost_bytes),
            ("dirty_pressure_rounds_total", &self.pressure_rounds),
            ("slice_table_hits_total", &self.table_hits),
            ("slice_table_misses_total", &self.table_misses),
            ("readahead_hits_total", &self.readahead_hits),
            ("metadata_backups_total", &self.backups),
            ("metadata_backup_failures_total", &self.backup_failures),
            ("compacted_chunks_total", &self.compacted_chunks),
            ("compacted_slices_total", &self.compacted_slices),
            ("compacted_slices_left_total", &self.compacted_slices_left),
            ("compacted_bytes_total", &self.compacted_bytes),
            ("compaction_failures_total", &self.compaction_failures),
        ] {
            line(name, "", value.load(Relaxed) as f64);
        }
        for (name, value) in gauges {
            line(name, "", *value as f64);
        }
        text
    }
}
