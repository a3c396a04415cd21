//! What a mount does for its volume besides serving it: tasks on the volume's bucket.
//!
//! Who does a task, and when, is decided in the metadata engine: a mount offers itself, and does what
//! its session is given. It tells the engine while it is at it, and when it is done; a mount that
//! falls silent has its task taken over by another one. Nothing here ever holds up the mount: what
//! fails is logged, given back, and tried again later.
//!
//! There are two tasks, which go on beside each other: the backup of the volume's metadata (`backup.rs`),
//! and compaction, few slices in the place of many (`compact.rs`).

mod backup;
mod compact;
mod error;
mod looks;
mod offer;
mod pace;
mod retention;
mod runner;
mod set_aside;
mod source;

pub use compact::{COMPACT_INTERVAL, COMPACTION_LIMITS};
pub use error::BackupError;
pub use retention::expired;
pub use runner::{Worker, WorkerParts};
pub use source::{ClusterDump, DumpSource};
