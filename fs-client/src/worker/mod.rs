//! What a mount does for its volume besides serving it: tasks on the volume's bucket.
//!
//! Who does a task, and when, is decided in the metadata engine: a mount offers itself, and does what
//! its session is given. It tells the engine while it is at it, and when it is done; a mount that
//! falls silent has its task taken over by another one. Nothing here ever holds up the mount: what
//! fails is logged, given back, and tried again later.
//!
//! So far there is one task, the backup of the volume's metadata: start reading at `backup.rs`.

mod backup;
mod error;
mod offer;
mod pace;
mod retention;
mod runner;
mod source;

pub use error::BackupError;
pub use retention::expired;
pub use runner::{Worker, WorkerParts};
pub use source::{ClusterDump, DumpSource};
