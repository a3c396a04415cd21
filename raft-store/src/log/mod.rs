//! The Raft log: entries, votes and marks, written by one thread with one sync per round.
//!
//! [`LogStore`] is openraft's door. [`image::Image`] is what the log will be once all queued
//! writes are done, with the newest entries in memory; [`writer`] makes it durable in order;
//! [`disk::LogDisk`] is files of its own, or a simulated disk for the store in memory.

mod disk;
mod entry;
mod file;
mod hint;
mod image;
#[cfg(feature = "rocksdb")]
mod rocks;
mod shared;
mod store;
mod writer;

pub use store::{LogReader, LogStore};

pub(crate) use disk::{Change, Durability, Ends, LogDisk};
pub(crate) use entry::{
    decode as decode_entry, encode as encode_entry, key as entry_key, key_index,
};
pub(crate) use file::{FileLog, fuzz_record};
pub(crate) use hint::Tip;
pub(crate) use image::LogStart;
#[cfg(feature = "rocksdb")]
pub(crate) use rocks::RocksLog;
pub(crate) use shared::LogShared;
pub(crate) use store::PurgeGate;
