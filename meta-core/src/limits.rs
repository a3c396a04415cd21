//! Bounds on everything that a peer can make grow. Both ends check them.

use crate::ids::Level;

/// The highest level of a volume that this version reads.
pub const LEVEL_MAX: Level = Level(6);

/// The level of records that is read where a leader does not say one.
pub const LEVEL_UNSAID: Level = Level(2);
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a symlink's target.
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// Names of one file. ext4 stops at 65,000; ours is bounded by the row's counter alone.
pub const LINKS_MAX: u32 = i32::MAX as u32;
/// Bytes of an extended attribute's name.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// Bytes of an extended attribute's value.
pub const XATTR_VALUE_BYTES_MAX: usize = 65_536;
/// Bytes of all attribute names of one file together, as `listxattr` counts them.
pub const XATTR_LIST_BYTES_MAX: usize = 65_536;
/// Entries of an ACL: as many as Linux hands to a file system in user space (a page of 4 KiB).
pub const ACL_ENTRIES_MAX: usize = 511;
/// Supplementary groups of a caller, as on Linux.
pub const GROUPS_MAX: usize = 65_536;
/// Bytes of a chunk.
pub const CHUNK_BYTES: u64 = 64 << 20;
/// Bytes of a frame: the piece of a block that is checked alone.
pub const FRAME_BYTES: u32 = 64 << 10;
/// Smallest block size that a volume can be formatted with.
pub const BLOCK_BYTES_MIN: u32 = 64 << 10;
/// Largest block size that a volume can be formatted with.
pub const BLOCK_BYTES_MAX: u32 = 16 << 20;
/// Bytes of a file: 2^31 chunks.
pub const FILE_BYTES_MAX: u64 = CHUNK_BYTES << 31;
/// Slices committed by one command.
pub const COMMIT_SLICES_MAX: usize = 64;
/// Slice ids granted by one command.
pub const GRANT_SLICES_MAX: u32 = 65_536;
/// Ranges of slice ids that one session may hold; past it the oldest is revoked.
pub const GRANTS_PER_SESSION_MAX: usize = 1024;
/// Request slots of one session.
pub const SLOTS_PER_SESSION_MAX: u32 = 1024;
/// Sessions of one cluster.
pub const SESSIONS_MAX: usize = 65_536;
/// Bytes of a volume's name.
pub const VOLUME_NAME_BYTES_MAX: usize = 63;
/// Bytes of a volume's storage description.
pub const STORAGE_BYTES_MAX: usize = 16_384;
/// Bytes of a session's description.
pub const SESSION_INFO_BYTES_MAX: usize = 4096;
/// Names in one page of readdir.
pub const READDIR_ENTRIES_MAX: u32 = 4096;
/// Files in one [`crate::query::QueryBody::GetAttrs`].
pub const GET_ATTRS_MAX: usize = 4096;
/// Bytes of a path that is walked in one go, also with the targets of symlinks in it.
pub const PATH_BYTES_MAX: usize = 4095;
/// Steps of such a walk.
pub const PATH_STEPS_MAX: usize = 4096;
/// Symlinks that one walk follows, as on Linux.
pub const PATH_LINKS_MAX: u32 = 40;
/// Slice rows in one page of a read.
pub const READ_SLICES_MAX: u32 = 4096;
/// Bytes of one page of any query, after which it ends early and says where to go on.
pub const PAGE_BYTES_MAX: usize = 2 << 20;
/// Truncations of one file that wait for trimming, before a further one trims as well.
pub const CUTS_MAX: usize = 64;
/// Chunks with data that one [`crate::command::Fallocate`] goes through.
pub const FALLOCATE_CHUNKS_MAX: usize = 256;
/// Holes in one chunk that cannot be told by the slices alone.
pub const HOLES_MAX: usize = 256;
/// Slices of a chunk that a range is copied from.
pub const COPY_SLICES_MAX: usize = 1 << 14;
/// Bytes of a range that one [`crate::command::CopyRange`] copies.
pub const COPY_BYTES_MAX: u64 = 16 << 30;
/// Every so many slices of a file, the chunk that gets one is looked at for compaction.
pub const COMPACT_LOOK_EVERY: u64 = 32;
/// Fewer slices are not compacted without being told to.
pub const COMPACT_ROWS_MIN: usize = 16;
/// So many slices are compacted even if large ones are among them.
pub const COMPACT_WHOLE_ROWS: usize = 512;
/// Slices that one [`crate::compaction::Compact`] replaces.
pub const COMPACT_ROWS_MAX: usize = 1024;
/// Slices of a chunk that are looked at for compaction.
pub const COMPACT_LOOK_MAX: usize = 1 << 14;
/// Chunks in one page of [`crate::query::QueryBody::Compactable`].
pub const COMPACTABLE_PAGE_MAX: u32 = 1024;
/// Files in one [`crate::command::Operation::Accessed`].
pub const ACCESSED_MAX: usize = 256;
/// Directories that are cloned at a time.
pub const CLONES_MAX: u32 = 16;
/// Clones that have ended and are told of.
pub const ENDED_CLONES_MAX: usize = 64;
/// How long a clone that has ended is told of, in seconds.
pub const ENDED_CLONE_SECONDS: i64 = 3600;
/// How often a clone begins again because a directory in its source was moved.
pub const CLONE_RESTARTS_MAX: u8 = 3;
/// Rows of a clone's source that may change while it is made, beside four for each file: then it does not
/// keep up.
pub const CLONE_CHANGES_MAX: u64 = 1 << 16;
/// Rows that one maintenance command touches.
pub const MAINTENANCE_ROWS_MAX: u32 = 1024;
/// Files in one [`crate::command::CommandBody::ReapFiles`].
pub const REAP_FILES_MAX: usize = 256;
/// Names in one [`crate::command::Operation::RemoveEntries`]. Others wait while they are removed.
pub const REMOVE_ENTRIES_MAX: usize = 256;
/// Files that one command takes out of the trash.
pub const TRASH_ENTRIES_MAX: usize = 256;
/// How long removed files stay in the trash of a volume that was told nothing else, in seconds.
pub const TRASH_SECONDS_DEFAULT: u64 = 86_400;
/// The longest that they can stay: 100 years.
pub const TRASH_SECONDS_MAX: u64 = 36_500 * 86_400;
/// Directories above a file that totals are kept in: more than a path that a system call takes can have.
/// Below that nothing can be made or changed.
pub const TOTALS_DEPTH_MAX: usize = 2048;
/// Directories whose totals one command changes.
pub const TOTALS_ROWS_MAX: usize = 1 << 14;
/// Files that one command takes into the totals.
pub const COUNT_FILES_MAX: usize = 256;
/// Directories above files that it goes through, after which it takes no more of them.
pub const COUNT_STEPS_MAX: usize = 1 << 14;
/// Files in one [`crate::query::QueryBody::Amounts`].
pub const AMOUNTS_MAX: usize = 4096;
/// Limits in one page of [`crate::query::QueryBody::Limits`].
pub const LIMITS_PAGE_MAX: u32 = 1024;
/// Directories above a file that are followed: a move of a directory to below that is refused, and
/// so is the question for a path from there.
pub const DEPTH_MAX: u32 = 1 << 14;
/// Bytes of all extended attributes of one file together, names and values.
pub const XATTR_BYTES_MAX: usize = 1 << 20;
/// Volumes of one cluster.
pub const VOLUMES_MAX: u32 = 4096;
/// Bytes of a message on a stream between peers.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Records that one command brings to a mirror.
pub const MIRROR_RECORDS_MAX: usize = 4096;
/// Rows of a snapshot that one command brings to a mirror.
pub const MIRROR_ROWS_MAX: usize = 8192;
/// Bytes of records or rows that one command brings to a mirror; one alone may be larger.
pub const MIRROR_BYTES_MAX: usize = 1 << 20;
/// How long a session that does a task may be silent about it, in milliseconds, before another one
/// may be given it.
pub const TASK_LEASE_MS: u64 = 60_000;
/// Bytes of a backup's name.
pub const BACKUP_NAME_BYTES_MAX: usize = 255;
/// Mirrors of one volume.
pub const FOLLOWERS_MAX: usize = 64;
/// Bytes of what is said of a mirror: its own, or a volume's of its mirror.
pub const MIRROR_INFO_BYTES_MAX: usize = 4096;
/// Locks of one session, beyond which it is given none. Requests that waited before are served all the
/// same.
pub const LOCKS_PER_SESSION_MAX: usize = 16_384;
/// Locks of one domain on one file.
pub const LOCKS_PER_FILE_MAX: usize = 4096;
/// Requests for locks of one session that wait.
pub const LOCK_WAITERS_PER_SESSION_MAX: usize = 1024;
/// Requests for locks of one domain on one file that wait.
pub const LOCK_WAITERS_PER_FILE_MAX: usize = 1024;
/// Owners that one command looks at to find who waits for whom. What it does not find in these, the
/// next request of those who wait may.
pub const LOCK_STEPS_MAX: u32 = 1024;
/// Requests that one reply tells of as waiting no more; the others find out when they ask.
pub const WOKEN_MAX: usize = 1024;
