//! Versions and bounds of the streams between peers, beyond `meta_core::limits`. Both ends use
//! them.

/// The oldest version of the client stream that this build speaks.
pub const STREAM_VERSION_MIN: u32 = 1;
/// The newest version of the client stream that this build speaks.
pub const STREAM_VERSION_MAX: u32 = 1;
/// Bytes of an encoded command: the largest commits, callers and expiries fit well.
pub const COMMAND_BYTES_MAX: usize = 2 << 20;
/// Sessions that one hello attaches.
pub const HELLO_SESSIONS_MAX: usize = 64;
/// Inodes in one question about open files, and in its answer.
pub const HELD_INODES_MAX: usize = 65_536;
/// The oldest version of the changelog's streams that this build speaks.
pub const CHANGELOG_VERSION_MIN: u32 = 1;
/// The newest version of the changelog's streams that this build speaks.
pub const CHANGELOG_VERSION_MAX: u32 = 1;
