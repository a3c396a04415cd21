//! What the machine does without Curlew, or with only one part of it.

mod echoed;
mod raft;
mod rows;
mod synced;

pub(crate) use echoed::{EchoServerArgs, echoed, serve_echo};
pub(crate) use raft::{RaftNodeArgs, raft, serve_raft};
pub(crate) use rows::{applied, rows};
pub(crate) use synced::fdatasync;
