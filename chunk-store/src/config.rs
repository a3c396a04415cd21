//! Where a volume's blocks live, as the volume says it.

use crate::error::StorageError;
use crate::object::{LocalDir, ObjectStore, S3Bucket, S3Store};
use bytes::Bytes;
use meta_core::ids::VolumeUuid;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a bucket is asked for a volume's marker, and the first pause between two tries.
const MARKER_TRIES: u32 = 3;
const MARKER_PAUSE: Duration = Duration::from_millis(500);

/// A storage description: JSON in the volume, the same for all its clients, without secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum StorageConfig {
    /// A directory that every client sees.
    File {
        /// Its absolute path.
        root: PathBuf,
    },
    /// A bucket of S3, or of a store that speaks its protocol. Keys come from each client's own
    /// environment.
    S3(S3Bucket),
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

/// Makes in a store what a new volume needs there.
///
/// # Errors
/// [`StorageError`] if the description is unknown here or the store cannot be written.
pub async fn prepare_volume(description: &[u8], volume: VolumeUuid) -> Result<(), StorageError> {
    match serde_json::from_slice(description)? {
        StorageConfig::File { root } => {
            let place = root.join(volume.to_string());
            LocalDir::make(&place).map_err(|error| StorageError::Open { place, error })
        }
        StorageConfig::S3(bucket) => {
            let store = S3Store::open(&bucket)?;
            let text = Bytes::from(volume.to_string());
            let put = store.put(&marker(volume), text).await;
            put.map_err(|error| StorageError::Bucket {
                place: bucket.place(),
                error,
            })
        }
    }
}

/// The object that tells a volume's bucket from another one that the same address leads to
/// elsewhere. No block has this name: theirs go on with an epoch.
fn marker(volume: VolumeUuid) -> String {
    format!("{volume}/curlew-volume")
}

/// Looks for a volume's marker, a few times if the store is only busy.
async fn find_marker(bucket: &S3Bucket, volume: VolumeUuid) -> Result<(), StorageError> {
    let (store, marker) = (S3Store::open(bucket)?, marker(volume));
    let mut attempt = 1;
    loop {
        match store.head(&marker).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => return Err(StorageError::OtherBucket(bucket.place())),
            Err(error) if error.may_pass() && attempt < MARKER_TRIES => {}
            Err(error) => {
                let place = bucket.place();
                return Err(StorageError::Bucket { place, error });
            }
        }
        tokio::time::sleep(MARKER_PAUSE * attempt).await;
        attempt += 1;
    }
}

/// Opens the store of a volume, if what [`prepare_volume`] made there is found: else it is another
/// store, such as the empty directory where a disk is not mounted yet.
///
/// # Errors
/// [`StorageError`] if the description is unknown here, or the store does not open or is another.
pub async fn open_volume(
    description: &[u8],
    volume: VolumeUuid,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let store = open_store(description)?;
    match serde_json::from_slice(description)? {
        StorageConfig::File { root } => {
            let place = root.join(volume.to_string());
            if !place.is_dir() {
                return Err(StorageError::NotThere(place));
            }
        }
        StorageConfig::S3(bucket) => find_marker(&bucket, volume).await?,
    }
    Ok(store)
}

/// Opens the store that a description names.
///
/// # Errors
/// [`StorageError`] if the description is unknown here or the store does not open.
pub fn open_store(description: &[u8]) -> Result<Arc<dyn ObjectStore>, StorageError> {
    match serde_json::from_slice(description)? {
        StorageConfig::File { root } => Ok(Arc::new(LocalDir::open(&root)?)),
        StorageConfig::S3(bucket) => Ok(Arc::new(S3Store::open(&bucket)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_description_is_frozen() {
        let config = StorageConfig::File {
            root: PathBuf::from("/srv/blocks"),
        };
        let json = config.to_json().expect("text");
        assert_eq!(json, br#"{"kind":"file","root":"/srv/blocks"}"#);
        assert_eq!(
            serde_json::from_slice::<StorageConfig>(&json).expect("read"),
            config
        );
    }

    #[test]
    fn the_storage_description_of_a_bucket_is_frozen() {
        let config = StorageConfig::S3(S3Bucket {
            endpoint: "http://127.0.0.1:9000".to_owned(),
            bucket: "blocks".to_owned(),
            prefix: "a/b/".to_owned(),
            region: "us-east-1".to_owned(),
            path_style: true,
        });
        let json = config.to_json().expect("text");
        let frozen = r#"{"kind":"s3","endpoint":"http://127.0.0.1:9000","bucket":"blocks","prefix":"a/b/","region":"us-east-1","path_style":true}"#;
        assert_eq!(json, frozen.as_bytes());
        let read = serde_json::from_slice::<StorageConfig>(&json);
        assert_eq!(read.expect("read"), config);
    }

    #[test]
    fn descriptions_that_are_not_understood_are_refused() {
        let unknown = [
            &br#"{"kind":"ftp","root":"/x"}"#[..],
            br#"{"kind":"file"}"#,
            br#"{"kind":"file","root":"/x","secret":"s"}"#,
            br#"{"kind":"s3","bucket":"b"}"#,
            br#"{"kind":"s3","endpoint":"http://h","bucket":"b","prefix":"","region":"r","path_style":true,"secret_key":"s"}"#,
            b"",
        ];
        for text in unknown {
            let opened = open_store(text);
            assert!(matches!(opened, Err(StorageError::Description(_))));
        }
    }

    #[tokio::test]
    async fn a_volume_is_opened_only_where_it_was_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("disk").join("bucket");
        LocalDir::make(&root).expect("made");
        LocalDir::make(&root).expect("there already");
        let json = StorageConfig::File { root: root.clone() }.to_json();
        let (json, volume) = (json.expect("text"), meta_core::ids::Uuid([7; 16]));
        let opened = open_volume(&json, volume).await;
        assert!(matches!(opened, Err(StorageError::NotThere(_))));
        prepare_volume(&json, volume).await.expect("prepared");
        open_volume(&json, volume).await.expect("opened");
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("not mounted");
        let json = StorageConfig::File { root: root.clone() }.to_json();
        let opened = open_store(&json.expect("text"));
        assert!(matches!(opened, Err(StorageError::NotThere(named)) if named == root));
        assert!(!root.exists());
    }
}
