//! Clusters, their clients, the network between them, disks and clocks in one process, in virtual
//! time and under a seed: the real server, store and client logic, hurt in every way that the
//! seed decides, and then asked whether all that was promised was kept.
//!
//! What is real: `meta-core`, `raft-store` but for RocksDB, `meta-server`, `meta-client`, openraft,
//! gRPC. What is simulated: hosts and TCP (by turmoil), time (tokio's paused clock), the disk
//! ([`raft_store::simulated`]), wall clocks (`clock`) and randomness (`entropy`).
//!
//! What it does not know: RocksDB, FUSE, object storage; the harness `jepsen` hurts the real
//! processes.
//!
//! Start reading at [`run`]; `oracle` says why a run that passes is linearizable.
#![warn(missing_docs)]

pub mod bugs;
pub mod campaign;
mod client;
mod clock;
mod ends;
mod entropy;
mod history;
mod invariant;
mod ledger;
mod member;
mod nemesis;
mod network;
mod operator;
mod oracle;
pub mod run;
mod side;

pub use entropy::seed;
pub use meta_core::seeded::Bug;
#[cfg(feature = "seeded-bugs")]
pub use meta_core::seeded::choose;
pub use nemesis::fault_kinds;
