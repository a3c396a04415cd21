//! Where a volume's blocks live, as the volume says it.

use crate::error::{CheckError, ObjectError, StorageError};
use crate::object::{LocalDir, ObjectStore};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// A storage description: JSON in the volume, the same for all its clients, without secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum StorageConfig {
    /// A directory that every client sees.
    File {
        /// Its absolute path.
        root: PathBuf,
    },
}

impl StorageConfig {
    /// As the volume keeps it.
    ///
    /// # Errors
    /// If the path is not text.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// Opens the store that a description names.
///
/// # Errors
/// [`StorageError`] if the description is unknown here or the store does not open.
pub fn open_store(description: &[u8]) -> Result<Arc<dyn ObjectStore>, StorageError> {
    match serde_json::from_slice(description)? {
        StorageConfig::File { root } => LocalDir::open(&root)
            .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            .map_err(|error| StorageError::Open {
                place: root.display().to_string(),
                error,
            }),
    }
}

/// Puts, gets, lists and deletes a small object.
///
/// # Errors
/// [`CheckError`] names the step that failed.
pub async fn check_store(store: &Arc<dyn ObjectStore>) -> Result<(), CheckError> {
    let key = format!("curlew-check/{}", uuid::Uuid::new_v4());
    let data = Bytes::from_static(b"curlew checks this store");
    let failed = |step| {
        move |error: ObjectError| CheckError {
            step,
            why: error.to_string(),
        }
    };
    let wrong = |step, why: &str| {
        Err(CheckError {
            step,
            why: why.to_owned(),
        })
    };
    store.put(&key, data.clone()).await.map_err(failed("put"))?;
    let read = store
        .get(&key, 0..data.len() as u64)
        .await
        .map_err(failed("get"))?;
    if read != data {
        return wrong("get", "other bytes came back than were put");
    }
    let listed = store
        .list("curlew-check/", "", 1000)
        .await
        .map_err(failed("list"))?;
    if !listed.iter().any(|(found, _)| *found == key) {
        return wrong("list", "an object that was put is not listed");
    }
    store.delete(&key).await.map_err(failed("delete"))?;
    match store.head(&key).await.map_err(failed("delete"))? {
        None => Ok(()),
        Some(_) => wrong("delete", "an object that was deleted is still there"),
    }
}
