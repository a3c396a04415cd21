//! The words of Curlew and its pure, replicated state machine.
//!
//! A [`command::Command`] goes through [`machine::apply`] and gives a [`outcome::Reply`], row
//! changes, and a [`changelog::Record`] of the replicated ones. Every node that applies the same
//! commands to the same rows ends with the same rows, byte for byte.
//!
//! What this crate does not know: a clock, randomness, threads, Raft, a disk, a network, how
//! commands are encoded ([`codec::Codec`] is injected), and who leads. It reads and writes an
//! ordered map through [`kv::KvRead`].
//!
//! Start reading at [`command`], then [`machine`], then the table of rows in [`key`].
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::cast_possible_truncation)
)]

mod access;
pub mod acl;
mod apply;
pub mod attr;
pub mod calendar;
pub mod changelog;
pub mod changes;
pub mod check;
pub mod chunk;
pub mod codec;
pub mod command;
pub mod compaction;
pub mod digest;
pub mod failpoint;
pub mod ids;
pub mod key;
pub mod kv;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod name;
pub mod outcome;
pub mod path;
pub mod query;
pub mod quota;
pub mod read;
pub mod row;
pub mod seeded;
mod tables;
pub mod task;
#[cfg(test)]
mod testing;
mod txn;
