//! Curlew's client: files for a program or a kernel, out of metadata and blocks.
//!
//! [`vfs`] is the file system as a library: handles, write buffers, read-ahead, caches. [`fuse`]
//! puts it behind the kernel's FUSE requests, and [`mount`] is the life of a mount, from the check
//! of the mount point to the last flush. [`worker`] does what the engine gives a mount to do for its
//! volume.
//!
//! What this crate does not know: how requests travel (`meta-client` does), how blocks are laid
//! out (`chunk-store` does), what an operation means (`meta-core` does), and command lines.
//!
//! Start reading at [`vfs`], then `vfs/writer.rs` and `vfs/reader.rs`.
#![warn(missing_docs)]

pub mod fuse;
pub mod mount;
pub mod vfs;
pub mod worker;
