//! File data as immutable blocks in an object store.
//!
//! A slice is uploaded as blocks, each under a name that holds the slice's id; its frames (64 KiB
//! each) are checked against crcs that the caller keeps in the metadata. What this crate does not
//! know: inodes, sessions, the metadata engine, FUSE.
//!
//! Start reading at [`SliceStore`], then [`ObjectStore`].

mod config;
mod error;
mod frame;
mod key;
mod object;
mod slices;
mod upload;

pub use config::{StorageConfig, check_store, open_store};
pub use error::{CheckError, ChunkError, ObjectError, StorageError};
pub use frame::frame_crcs;
pub use key::{BlockKey, VolumeKeys};
pub use object::{Failing, Fault, LocalDir, Memory, ObjectStore};
pub use slices::{Limits, SliceStore};
pub use upload::{SliceUpload, Uploaded};
