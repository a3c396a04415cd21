//! Versions and bounds of the streams between peers, beyond `meta_core::limits`. Both ends use
//! them.

use std::time::Duration;

/// The oldest version of the client stream that this build speaks.
pub const STREAM_VERSION_MIN: u32 = 1;
/// The newest version of the client stream that this build speaks.
pub const STREAM_VERSION_MAX: u32 = 1;
/// Bytes of an encoded command in the log. Nothing longer is proposed, because no node could read
/// it back.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;
/// Bytes of a command that a client sends: the largest commits and callers fit well. The leader
/// stamps it, which makes it a little longer.
pub const CLIENT_COMMAND_BYTES_MAX: usize = 2 << 20;
const _: () = assert!(CLIENT_COMMAND_BYTES_MAX + 1024 <= COMMAND_BYTES_MAX);
/// Sessions that one hello attaches.
pub const HELLO_SESSIONS_MAX: usize = 64;
/// Inodes in one question about open files, and in its answer.
pub const HELD_INODES_MAX: usize = 65_536;
/// How long a lease lives unless it is renewed. The same on every node: a new leader waits so long
/// for leases of its predecessor.
pub const LEASE_TTL: Duration = Duration::from_secs(2);
/// Files that a session gives up with one answer to a recall.
pub const RECALLED_FILES_MAX: usize = 4096;
/// Files that a session drops from its cache with one command.
pub const DROPPED_FILES_MAX: usize = 512;
/// The oldest version of the changelog's streams that this build speaks.
pub const CHANGELOG_VERSION_MIN: u32 = 1;
/// The newest version of the changelog's streams that this build speaks.
pub const CHANGELOG_VERSION_MAX: u32 = 1;
