//! The metadata node: keeps a replicated engine and answers clients from it.
//!
//! A node is one voter of a Raft group. Its leader stamps and proposes what clients send
//! ([`Node`] puts the parts together), answers reads after confirming that it still leads, follows
//! the sessions' lives, and deletes what nobody holds any more.
//!
//! What this crate does not know: what a command means or how rows look (`meta-core`), how they
//! are stored (`raft-store`), object storage, FUSE, and file data.
//!
//! Start reading at `node/mod.rs`, then `service/stream.rs` (a client's request), `proposer.rs`
//! (the way into the log), `reads.rs` (the way to an answer) and `leader/mod.rs` (what the leader
//! does by itself).
#![warn(missing_docs)]

mod answers;
mod changelog;
mod clock;
pub mod config;
mod failure;
mod generations;
mod http;
mod leader;
mod leader_lease;
mod leases;
mod listener;
pub mod logging;
pub mod members_command;
mod metrics;
mod mirror;
mod network;
mod node;
#[cfg(feature = "rocksdb")]
pub mod offline;
pub mod open_files;
mod proposer;
mod raft_config;
mod reads;
#[cfg(feature = "rocksdb")]
pub mod recover;
mod service;
mod session_table;
mod space;
mod woken;

pub use clock::{Suspended, SystemClock, WallClock};
pub use generations::AppliedGeneration;
pub use listener::Listener;
pub use node::{Node, NodeParts, StartError};
pub use proto::ProstCodec;
pub use space::{DiskSpace, FreeSpace};
