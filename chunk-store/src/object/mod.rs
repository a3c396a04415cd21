//! Object stores: S3, a local directory, memory, and one that fails as it is told.

mod content;
mod failing;
mod local;
mod memory;
mod name;
mod s3;
mod tree;

pub use failing::{Failing, Fault, Step};
pub use local::LocalDir;
pub use memory::Memory;
#[cfg(test)]
pub(crate) use name::check_key;
pub use s3::{S3Bucket, S3Store};

use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Named, immutable byte strings. A store that is reached over a network bounds its own waiting.
#[async_trait]
pub trait ObjectStore: Send + Sync + Debug {
    /// Stores an object durably: it is there, whole, after any crash once this returned. Storing
    /// the same bytes again under the same key is fine; other bytes are refused where the store
    /// can tell.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError>;
    /// Stores the bytes of a file as [`Self::put`] does, with a bounded part of them in memory at a
    /// time: the object is there whole, or it is not there. The file must not change meanwhile.
    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError>;
    /// Reads a range, in bytes; all of it, or an error.
    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError>;
    /// The object's length in bytes, if it exists.
    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError>;
    /// Removes an object; one that is not there is fine. After a crash it may be there again.
    async fn delete(&self, key: &str) -> Result<(), ObjectError>;
    /// Keys with the prefix that come after `after`, in byte order, with lengths; at most
    /// `count_max`. The last key is the `after` of the next page; fewer than asked for is the end.
    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError>;
}

#[async_trait]
impl<S: ObjectStore + ?Sized> ObjectStore for Arc<S> {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        (**self).put(key, data).await
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        (**self).put_file(key, file).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        (**self).get(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        (**self).head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        (**self).delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        (**self).list(prefix, after, count_max).await
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
