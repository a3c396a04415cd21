//! The store of one metadata node: openraft's log in files of its own and its state machine on RocksDB, or
//! both in memory.
//!
//! [`open`] gives a [`Store`]: a [`LogStore`] and a [`StateMachine`] for openraft, a
//! [`StateReader`] for queries, and a [`Poison`] that is set when the store cannot be trusted any
//! more. A log entry is durable before it is acknowledged; the state's rows are not, and are
//! replayed from the log after a crash, which is never purged past what the state's files hold.
//!
//! What this crate does not know: what commands, replies and records look like as bytes (a codec
//! is injected) or mean (`meta-core` does), the network, who leads, and object storage.
//!
//! Start reading at [`store`](open), then `log/mod.rs` and `state/mod.rs`; the bytes on the disk
//! are in `log/entry.rs`, `log/file/record.rs`, `state/marks.rs`, `snapshot/manifest.rs` and [`wire`].
#![cfg_attr(
    not(feature = "rocksdb"),
    expect(
        dead_code,
        unused_imports,
        reason = "what deals with files serves RocksDB only"
    )
)]

#[cfg(feature = "rocksdb")]
pub mod bare;
#[cfg(test)]
mod crash_test;
mod durable;
mod error;
mod fault;
pub mod fuzzing;
mod log;
mod options;
mod poison;
#[cfg(test)]
mod raft_test;
#[cfg(feature = "rocksdb")]
mod record_files;
pub mod recover;
#[cfg(feature = "rocksdb")]
mod rocks;
pub mod simulated;
mod snapshot;
mod state;
mod store;
#[cfg(test)]
mod testing;
mod types;
pub mod wire;
mod workers;

pub use durable::make_dir;
pub use error::StoreError;
pub use log::{LogReader, LogStore};
pub use options::StoreOptions;
pub use poison::Poison;
pub use snapshot::{SnapshotChunk, SnapshotChunks, SnapshotFiles, SnapshotReceiver};
pub use state::{LastingView, SnapshotBuilder, StateMachine, StateReader, StoreStats, View};
#[cfg(feature = "rocksdb")]
pub use store::open;
pub use store::{Store, open_memory, open_simulated};
pub use types::{
    Applied, CommandBytes, Entry, Incarnation, LogId, Membership, NodeId, NodeInfo, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};
pub use workers::offload;
