//! What the node answers: clients on streams, peers, and administrators.

pub(crate) mod admin;
pub(crate) mod meta;
pub(crate) mod raft;
mod snapshot_intake;
mod stream;

/// Bytes of any message that is taken in or sent.
pub(crate) const MESSAGE_BYTES_MAX: usize = meta_core::limits::MESSAGE_BYTES_MAX;
