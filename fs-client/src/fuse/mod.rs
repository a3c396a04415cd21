//! The file system behind the kernel's FUSE requests.
//!
//! Each request is decoded on one of fuser's threads, handed to the tokio runtime, and answered
//! from there; the kernel bounds how many are on their way. Every error number is chosen in
//! `errno.rs`.
//!
//! What is left to the kernel: permission checks in front of the engine's own
//! (`default_permissions`), the page cache, and what is under a lease of the engine, for half a second and
//! until the engine asks to forget it. Missing names are never cached by it.

mod access;
mod adapter;
mod caller;
mod decode;
mod errno;
mod filesystem;
mod generations;
mod interrupt;
mod kept_acls;
mod listing;
mod lock_kind;
mod locks;
mod reply;
mod root;
mod serve;
mod shows;
mod signals;
mod squash;
mod statfs;
mod virtual_files;
mod xattr;

pub use adapter::{Adapter, AdapterOptions};
pub use squash::{Ids, Squash};
pub use virtual_files::About;
