//! A store that fails as a test tells it to.

use super::ObjectStore;
use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;

/// What happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It works.
    None,
    /// It fails before anything was done.
    Fail,
    /// The store is full.
    NoSpace,
    /// A read comes back with one bit flipped.
    FlipBit,
}

/// A store that meets its operations with faults: puts and gets take the next one of their list,
/// and the last of the list stays.
#[derive(Debug)]
pub struct Failing<S> {
    store: S,
    puts: Mutex<VecDeque<Fault>>,
    gets: Mutex<VecDeque<Fault>>,
}

impl<S> Failing<S> {
    /// No faults yet.
    pub fn new(store: S) -> Self {
        Self {
            store,
            puts: Mutex::default(),
            gets: Mutex::default(),
        }
    }

    /// The store behind.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What the next puts meet.
    pub fn puts(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.puts.lock() = faults.into_iter().collect();
    }

    /// What the next gets meet.
    pub fn gets(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.gets.lock() = faults.into_iter().collect();
    }
}

fn next(faults: &Mutex<VecDeque<Fault>>) -> Fault {
    let mut faults = faults.lock();
    if faults.len() > 1 {
        faults.pop_front().unwrap_or(Fault::None)
    } else {
        faults.front().copied().unwrap_or(Fault::None)
    }
}

fn fail(action: &'static str, key: &str) -> ObjectError {
    ObjectError::Failed {
        action,
        key: key.to_owned(),
        why: "told to fail".to_owned(),
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Failing<S> {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        match next(&self.puts) {
            Fault::None | Fault::FlipBit => self.store.put(key, data).await,
            Fault::Fail => Err(fail("put", key)),
            Fault::NoSpace => Err(ObjectError::NoSpace {
                key: key.to_owned(),
            }),
        }
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        match next(&self.gets) {
            Fault::None | Fault::NoSpace => self.store.get(key, range).await,
            Fault::Fail => Err(fail("get", key)),
            Fault::FlipBit => {
                let mut bytes = self.store.get(key, range).await?.to_vec();
                if let Some(byte) = bytes.first_mut() {
                    *byte ^= 1;
                }
                Ok(bytes.into())
            }
        }
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        self.store.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.store.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        self.store.list(prefix, after, count_max).await
    }
}
