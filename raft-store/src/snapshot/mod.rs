//! Snapshots: what they hold, how they are sent, received and checked.
//!
//! [`SnapshotFiles`] is a finished snapshot; [`SnapshotReceiver`] makes one out of chunks.

mod chunks;
mod dir;
mod files;
mod manifest;
mod receiver;

pub use chunks::{SnapshotChunk, SnapshotChunks};
pub use files::SnapshotFiles;
pub use receiver::SnapshotReceiver;

#[cfg(feature = "rocksdb")]
pub(crate) use dir::SnapshotDir;
#[cfg(feature = "rocksdb")]
pub(crate) use files::hash_file;
pub(crate) use manifest::{FileEntry, MANIFEST_FILE, Manifest, Source};
