//! The proof that a person runs: a real tree goes into a mount, the leader dies in the middle, the
//! mirror's stream is cut, and every file is there afterwards, byte for byte, on every node and at
//! the mirror.

mod copy;
mod failover;
mod mirror;
mod pulse;
mod stage;
mod table;
mod tree;
mod verify;

pub use stage::{DemoOptions, run};
pub use table::{Claim, Proof};
pub use verify::hash_of;
