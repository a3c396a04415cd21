//! The file system behind the kernel's FUSE requests.
//!
//! Each request is decoded on one of fuser's threads, handed to the tokio runtime, and answered
//! from there; the kernel bounds how many are on their way. Every error number is chosen in
//! `errno.rs`.
//!
//! What is left to the kernel: permission checks in front of the engine's own
//! (`default_permissions`), the page cache, locks (they hold on this machine only), and directory
//! entries and directory attributes for up to a second. Attributes of files and missing names are
//! never cached.

mod adapter;
mod caller;
mod decode;
mod errno;
mod filesystem;
mod listing;
mod reply;
mod serve;
mod virtual_files;

pub use adapter::{Adapter, AdapterOptions};
pub use virtual_files::About;
