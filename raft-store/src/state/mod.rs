//! The replicated state: rows and changelog, and how far the log is applied to them.
//!
//! [`StateMachine`] is openraft's door; [`applier`] is the one thread that changes the state;
//! [`StateReader`] gives consistent views to queries. [`State`] lies over RocksDB or memory.

mod applier;
mod lasting;
mod machine;
mod marked;
mod marks;
mod memory;
mod reader;
mod remembered;
#[cfg(feature = "rocksdb")]
mod rocks;
mod store;

pub use lasting::LastingView;
pub use machine::{SnapshotBuilder, StateMachine};
pub use reader::{StateReader, StoreStats, View};

pub(crate) use marks::{AppliedMark, AppliedState, Current};
pub(crate) use memory::MemoryState;
#[cfg(feature = "rocksdb")]
pub(crate) use remembered::Remembered;
#[cfg(feature = "rocksdb")]
pub(crate) use rocks::RocksState;
pub(crate) use store::{Backend, State};
