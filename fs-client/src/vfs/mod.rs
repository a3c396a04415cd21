//! The file system as a library. It knows nothing of FUSE.
//!
//! A [`Vfs`] speaks to the metadata engine through [`MetaApi`] and to the object store through
//! `chunk_store::SliceStore`. Per open inode there is one state, shared by all handles:
//!
//! - **Writes** go into *pending slices*, in order. A write that continues the newest one grows
//!   it; any other begins a new one. Full blocks upload in the background while a slice grows.
//!   Slices are committed in the order of their writes, many per command, on fsync and close, when
//!   enough is ready, when memory is short, and after some idle seconds. Data stays in memory
//!   until its commit is acknowledged, so a revoked grant or an unknown outcome costs a second
//!   upload and never the data. Memory is bounded for the whole mount: a writer waits.
//! - **Appends** are pending slices without a place: the engine places them at the file's end when
//!   it applies them, so that two mounts never overwrite each other's records. What one `write`
//!   call of up to 1 MiB handed over lies in one piece. Until they are placed, whoever asks for
//!   the file's length or data waits for the flush.
//! - **Reads** lay the pending slices over what is committed, so that a mount always reads its own
//!   writes, through any handle, and after rename and unlink.
//! - **Errors** of background work are kept until an fsync or close of each handle was told. What
//!   could not be stored is then dropped, with everything written after it: the file holds a
//!   prefix of the writes.
//! - **Locks** are the engine's, and of one of its sessions. What is written while this mount has a lock
//!   on the file is committed in the lock's session, or dropped and told: a holder whose session was
//!   lost changes nothing any more.
//! - **Access times** are noted where a file is read, shown at once, and told to the engine in the
//!   background, on mounts that keep them.
//!
//! The state of a file is known by its `ctime`, which the engine raises with every change: a
//! cached slice table, a prefetched span, or the kernel's pages are good as long as it is equal.

mod access_log;
mod access_times;
mod budget;
mod compact;
mod copy;
mod current;
mod directory;
mod error;
mod fallocate;
mod file;
mod file_locks;
mod grants;
mod handle;
mod inode;
mod inode_table;
mod locks;
mod meta;
mod names;
mod new_mode;
mod options;
mod pending;
mod readahead;
mod reader;
mod seek;
mod session;
mod settle;
mod slice_buffer;
mod slice_table;
mod stats;
mod upload;
mod vfs_core;
mod writer;
mod xattr;

pub use access_log::AccessLog;
pub use access_times::AtimeMode;
pub use compact::{CompactError, Compacted, Compactor};
pub use current::{HandedOnFile, OpenFiles};
pub use directory::{DirListing, ListAttrs};
pub use error::VfsError;
pub use file::{OpenHow, Opened, WriteHow};
pub use handle::{DirHandleId, HandleId};
pub use locks::{GiveUp, LockAsked};
pub use meta::{MetaApi, MetaStatus};
pub use new_mode::NewMode;
pub use options::VfsOptions;
pub use seek::SeekFor;
pub use stats::{Op, Stats};
pub use vfs_core::Vfs;
