//! What a mount's owner can choose. Parsing is the command line's.

use crate::fuse::{AdapterOptions, Squash};
use crate::vfs::{AtimeMode, VfsOptions};
use meta_client::{MirrorOptions, ReadFrom};
use meta_core::ids::Ino;
use std::path::PathBuf;
use std::time::Duration;

/// How long the cluster may take to answer when mounting: finding the leader may need an election.
pub(super) const CONNECT_FOR: Duration = Duration::from_secs(10);

/// How often the metadata is backed up if nobody says how often.
pub const BACKUP_META: Duration = Duration::from_secs(3600);

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Refuse every change, in the kernel and behind it.
    pub read_only: bool,
    /// The directory of the volume that is shown as the root, by its path from the volume's root;
    /// `None` for that itself.
    pub subdir: Option<PathBuf>,
    /// Let other users in. Anybody but root needs `user_allow_other` in /etc/fuse.conf for it.
    pub allow_other: bool,
    /// Whose requests are made as somebody else's.
    pub squash: Squash,
    /// Mount over a directory that has names, or over another mount.
    pub nonempty: bool,
    /// What is mounted, as the table of mounts names it; `None` for the volume's name.
    pub fs_name: Option<String>,
    /// Honour set-user-id and set-group-id bits of programs.
    pub suid: bool,
    /// Honour device files.
    pub dev: bool,
    /// Allow programs to be executed.
    pub exec: bool,
    /// How reads move access times. On a read-only mount they never do.
    pub atime_mode: AtimeMode,
    /// Whether listings move those of directories as well.
    pub directory_atimes: bool,
    /// Threads that read requests from the kernel.
    pub threads: usize,
    /// Background requests (read-ahead, write-back) of the kernel at most.
    pub background_max: u16,
    /// How long the kernel keeps names, and attributes of directories; at most a second is kept.
    pub entry_ttl: Duration,
    /// Bypass the page cache; shared memory maps then fail.
    pub direct_io: bool,
    /// Written bytes that may wait for their commit.
    pub buffer_bytes: usize,
    /// Bytes read ahead of one handle's sequential reads; 0 turns read-ahead off.
    pub readahead_bytes: u32,
    /// Bytes of blocks kept in memory.
    pub cache_bytes: usize,
    /// Uploads to the object store at a time.
    pub uploads: usize,
    /// Downloads from the object store at a time.
    pub downloads: usize,
    /// A file not written to for this long is flushed.
    pub flush_idle: Duration,
    /// How long the cluster may take to answer when mounting.
    pub connect_for: Duration,
    /// How long an operation is tried once mounted; `None` waits for the cluster without end.
    pub retry_for: Option<Duration>,
    /// Which member of the cluster answers reads. Not with a mirror.
    pub read_from: ReadFrom,
    /// A mirror that reads are answered by.
    pub mirror: Option<MirrorOptions>,
    /// How long after a backup of the volume's metadata this mount offers itself for the next one;
    /// `None` for never.
    pub backup_meta: Option<Duration>,
    /// Whether this mount offers itself for the volume's tasks: backups, and compaction.
    pub worker: bool,
    /// After a signal, how long open files may still be used on a mount that was busy.
    pub busy_grace: Duration,
}

impl Default for MountOptions {
    fn default() -> Self {
        let vfs = VfsOptions::default();
        let adapter = AdapterOptions::default();
        Self {
            read_only: false,
            subdir: None,
            allow_other: rustix::process::geteuid().is_root(),
            squash: Squash::Nobody,
            nonempty: false,
            fs_name: None,
            suid: false,
            dev: false,
            exec: true,
            atime_mode: vfs.atime_mode,
            directory_atimes: vfs.directory_atimes,
            threads: 2,
            background_max: adapter.background_max,
            entry_ttl: adapter.entry_ttl,
            direct_io: false,
            buffer_bytes: vfs.dirty_bytes_max,
            readahead_bytes: vfs.readahead_bytes,
            cache_bytes: 128 << 20,
            uploads: 20,
            downloads: 64,
            flush_idle: vfs.flush_idle,
            connect_for: CONNECT_FOR,
            retry_for: None,
            read_from: ReadFrom::Leader,
            mirror: None,
            backup_meta: Some(BACKUP_META),
            worker: true,
            busy_grace: Duration::from_secs(5),
        }
    }
}

/// Names are never kept longer than the consistency rules allow.
const ENTRY_TTL_MAX: Duration = Duration::from_secs(1);

impl MountOptions {
    /// The part that the file system takes.
    pub fn vfs(&self, block_bytes: u32) -> VfsOptions {
        VfsOptions {
            read_only: self.read_only,
            atime_mode: self.atime_mode,
            directory_atimes: self.directory_atimes,
            block_bytes,
            dirty_bytes_max: self.buffer_bytes,
            readahead_bytes: self.readahead_bytes,
            readahead_total_bytes: self.readahead_bytes.saturating_mul(4),
            flush_idle: self.flush_idle,
            ..VfsOptions::default()
        }
    }

    /// Whether this mount offers itself for tasks. One that may not write to the volume does not.
    pub(super) fn is_offered(&self) -> bool {
        self.worker && !self.read_only
    }

    /// The part that the FUSE adapter takes.
    pub(super) fn adapter(&self, root: Ino) -> AdapterOptions {
        let entry_ttl = match self.read_from {
            ReadFrom::Leader => self.entry_ttl.min(ENTRY_TTL_MAX),
            // Such answers are as new as the leader's, and come without leases: nothing tells the
            // kernel when they are old.
            ReadFrom::Nearest => Duration::ZERO,
        };
        AdapterOptions {
            entry_ttl,
            background_max: self.background_max.max(1),
            direct_io: self.direct_io,
            root,
            squash: self.squash,
        }
    }

    /// What `.config` shows.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let Self {
            read_only,
            subdir,
            allow_other,
            squash,
            nonempty: _,
            fs_name: _,
            suid,
            dev,
            exec,
            atime_mode,
            directory_atimes,
            threads,
            background_max,
            entry_ttl,
            direct_io,
            buffer_bytes,
            readahead_bytes,
            cache_bytes,
            uploads,
            downloads,
            flush_idle,
            connect_for: _,
            retry_for,
            read_from,
            mirror,
            backup_meta,
            worker,
            busy_grace: _,
        } = self;
        let (root_squash, all_squash) = match squash {
            Squash::Nobody => (None, None),
            Squash::Root(ids) => (Some(ids.to_string()), None),
            Squash::All(ids) => (None, Some(ids.to_string())),
        };
        serde_json::json!({
            "read_only": read_only,
            "subdir": subdir.as_ref().map(|path| path.to_string_lossy()),
            "allow_other": allow_other,
            "root_squash": root_squash,
            "all_squash": all_squash,
            "suid": suid,
            "dev": dev,
            "exec": exec,
            "atime_mode": atime_mode.name(),
            "directory_atimes": directory_atimes,
            "threads": threads,
            "background_max": background_max,
            "entry_ttl_ms": ms(entry_ttl),
            "direct_io": direct_io,
            "buffer_bytes": buffer_bytes,
            "readahead_bytes": readahead_bytes,
            "cache_bytes": cache_bytes,
            "uploads": uploads,
            "downloads": downloads,
            "flush_idle_ms": ms(flush_idle),
            "retry_for_ms": retry_for.as_ref().map(ms),
            "backup_meta_ms": backup_meta.as_ref().map(ms),
            "worker": worker,
            "read_from": match read_from {
                ReadFrom::Leader => "leader",
                ReadFrom::Nearest => "nearest",
            },
            "mirror": mirror.as_ref().map(|mirror| serde_json::json!({
                "meta_url": mirror.url.to_string(),
                "wait_ms": ms(&mirror.wait),
            })),
        })
    }
}

fn ms(time: &Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_nothing_of_what_the_nearest_member_answers() {
        let mut options = MountOptions {
            entry_ttl: Duration::from_secs(9),
            ..MountOptions::default()
        };
        assert_eq!(options.adapter(Ino::ROOT).entry_ttl, ENTRY_TTL_MAX);
        options.read_from = ReadFrom::Nearest;
        assert_eq!(options.adapter(Ino::ROOT).entry_ttl, Duration::ZERO);
        assert_eq!(options.to_json()["read_from"], "nearest");
    }
}
