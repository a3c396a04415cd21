//! Object stores: a local directory, memory, and one that fails as it is told.

mod failing;
mod local;
mod memory;

pub use failing::{Failing, Fault};
pub use local::LocalDir;
pub use memory::Memory;

use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Range;

/// Named, immutable byte strings.
#[async_trait]
pub trait ObjectStore: Send + Sync + Debug {
    /// Stores an object durably: it is there, whole, after any crash once this returned. Storing
    /// the same bytes again under the same key is no error.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError>;
    /// Reads a range, in bytes; all of it, or an error.
    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError>;
    /// The object's length in bytes, if it exists.
    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError>;
    /// Removes an object; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), ObjectError>;
    /// Keys with the prefix behind `after`, in byte order, with lengths; at most `count_max`.
    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError>;
}

/// Refuses keys that could mean another place than the one they name.
fn check_key(key: &str) -> Result<(), ObjectError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sound = |part: &str| {
        (1..=255).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(plain)
    };
    if key.len() <= 1024 && key.split('/').all(sound) {
        Ok(())
    } else {
        Err(ObjectError::BadKey {
            key: key.escape_debug().to_string(),
        })
    }
}
