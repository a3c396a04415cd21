//! File data as immutable blocks in an object store.
//!
//! A slice is uploaded as blocks, each under a name that holds the slice's id; its frames (64 KiB
//! each) are checked against crcs that the caller keeps in the metadata. Everything that runs at
//! once, waits or is remembered has a bound in [`Limits`].
//!
//! What this crate does not know: inodes, sessions, the metadata engine, FUSE. It never decides
//! that an object may go.
//!
//! Start reading at [`SliceStore`], then [`ObjectStore`].

mod backup;
mod check;
mod config;
mod error;
mod frame;
mod key;
mod limits;
mod object;
mod read;
mod retry;
mod slice_store;
mod upload;

pub use backup::{BackupName, StoredBackup, list_backups, list_volumes, parse_uuid};
pub use check::check_store;
pub use config::{StorageConfig, open_store, open_volume, prepare_volume};
pub use error::{CheckError, ChunkError, ObjectError, StorageError};
pub use frame::frame_crcs;
pub use key::{BlockKey, VolumeKeys};
pub use limits::Limits;
pub use object::{Failing, Fault, LocalDir, Memory, ObjectStore, S3Bucket, S3Store, Step};
pub use retry::RetryBudget;
pub use slice_store::SliceStore;
pub use upload::{SliceUpload, Uploaded};
