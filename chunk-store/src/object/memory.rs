//! Objects in memory, for tests.

use super::ObjectStore;
use super::content::{file_len, read_part};
use super::name::check_key;
use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Objects in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Bytes>>);

impl Memory {
    /// Changes a stored object behind the back of whoever stored it; tells whether there is one.
    pub fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut objects = self.0.lock();
        let Some(object) = objects.get_mut(key) else {
            return false;
        };
        let mut bytes = object.to_vec();
        change(&mut bytes);
        *object = bytes.into();
        true
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        check_key(key)?;
        let mut objects = self.0.lock();
        match objects.get(key) {
            Some(there) if *there != data => Err(ObjectError::Conflict {
                key: key.to_owned(),
            }),
            Some(_) => Ok(()),
            None => {
                objects.insert(key.to_owned(), data);
                Ok(())
            }
        }
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        let failed = |error: io::Error| ObjectError::io("put", key, &error);
        let len = file_len(&file).await.map_err(failed)?;
        // It is in memory all the same once it is stored.
        let data = read_part(&file, 0..len).await.map_err(failed)?;
        self.put(key, data).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        check_key(key)?;
        let object = self.0.lock().get(key).cloned();
        let object = object.ok_or_else(|| ObjectError::Missing {
            key: key.to_owned(),
        })?;
        if range.end > object.len() as u64 {
            return Err(ObjectError::Short {
                key: key.to_owned(),
                wanted: range.end,
                have: object.len() as u64,
            });
        }
        // Both fit, since the object is in memory.
        let (begin, end) = (range.start.min(range.end) as usize, range.end as usize);
        Ok(object.slice(begin..end))
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        check_key(key)?;
        Ok(self.0.lock().get(key).map(|object| object.len() as u64))
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        check_key(key)?;
        self.0.lock().remove(key);
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        let objects = self.0.lock();
        let found = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        Ok(found
            .take(count_max)
            .map(|(key, data)| (key.clone(), data.len() as u64))
            .collect())
    }
}
