//! Backups of a volume's metadata in its bucket: how they are named, and which there are. What is in
//! one is the metadata client's business.

mod name;

pub use name::BackupName;

use crate::error::ObjectError;
use crate::object::ObjectStore;
use meta_core::ids::{Uuid, VolumeUuid};

/// Keys asked for in one page.
const PAGE: usize = 1000;
/// Backups that are looked at; retention keeps some hundreds.
const BACKUPS_MAX: usize = 100_000;
/// First parts of keys that are looked at: volumes, and what somebody else put beside them.
const LOOKS_MAX: usize = 8192;

/// A backup that is in a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBackup {
    /// What it is.
    pub name: BackupName,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The backups of a volume, the newest last: the one that is furthest in the volume's history,
/// whatever the clocks said.
///
/// # Errors
/// What the store fails with.
pub async fn list_backups(
    store: &dyn ObjectStore,
    volume: VolumeUuid,
) -> Result<Vec<StoredBackup>, ObjectError> {
    let prefix = BackupName::prefix(volume);
    let (mut found, mut after) = (Vec::new(), String::new());
    while found.len() < BACKUPS_MAX {
        let page = store.list(&prefix, &after, PAGE).await?;
        let is_last = page.len() < PAGE;
        if let Some((last, _)) = page.last() {
            after.clone_from(last);
        }
        // What somebody else put there has another name, and is left alone.
        found.extend(page.into_iter().filter_map(|(key, bytes)| {
            let name = BackupName::parse(key.strip_prefix(&prefix)?)?;
            Some(StoredBackup { name, bytes })
        }));
        if is_last {
            break;
        }
    }
    found.sort_unstable_by_key(|backup| backup.name.age());
    Ok(found)
}

/// The volumes that have objects in a bucket, found without looking at all of these.
///
/// # Errors
/// What the store fails with.
pub async fn list_volumes(store: &dyn ObjectStore) -> Result<Vec<VolumeUuid>, ObjectError> {
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..LOOKS_MAX {
        let next = store.list("", &after, 1).await?;
        let Some((key, _)) = next.into_iter().next() else {
            break;
        };
        after = match key.split_once('/') {
            Some((first, _)) => {
                found.extend(parse_uuid(first));
                // The letter after the slash: behind all that begin so.
                format!("{first}0")
            }
            None => key,
        };
    }
    Ok(found)
}

/// Reads a UUID as it is printed.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid(*uuid::Uuid::try_parse(text).ok()?.as_bytes());
    (uuid.to_string() == text).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{LocalDir, Memory};
    use bytes::Bytes;
    use meta_core::attr::Timestamp;
    use meta_core::ids::{Epoch, Seq};
    use meta_core::outcome::Token;
    use std::sync::Arc;

    fn name(seconds: i64, epoch: u16, seq: u64) -> BackupName {
        let token = Token {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        };
        let taken = Timestamp { seconds, nanos: 0 };
        BackupName::new(taken, token).expect("a name")
    }

    #[tokio::test]
    async fn the_backups_and_the_volumes_of_a_bucket_are_found_among_all_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let local = LocalDir::open(dir.path()).expect("opens");
        let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(Memory::default()), Arc::new(local)];
        let (one, two) = (Uuid([0x11; 16]), Uuid([0xab; 16]));
        // The clock went back between the two of the second epoch.
        let names = [name(500, 0, 99), name(900, 0, 100), name(800, 1, 5)];
        for store in stores {
            let mut keys = vec![
                "readme".to_owned(),
                "other/thing".to_owned(),
                format!("{one}/0-00000000/0/0/0/1_0_5"),
                format!("{one}/meta/dump-of-somebody"),
                format!("{two}/curlew-volume"),
            ];
            keys.extend(names.iter().map(|name| name.key(one)));
            for key in keys {
                let put = store.put(&key, Bytes::from_static(b"x")).await;
                put.expect("stored");
            }
            let found = list_backups(&store, one).await.expect("listed");
            let found: Vec<_> = found.into_iter().map(|backup| backup.name).collect();
            assert_eq!(found, names);
            assert_eq!(list_backups(&store, two).await, Ok(Vec::new()));
            assert_eq!(list_volumes(&store).await, Ok(vec![one, two]));
        }
    }

    #[test]
    fn a_uuid_is_read_as_it_is_printed() {
        let uuid = Uuid([0xcd; 16]);
        assert_eq!(parse_uuid(&uuid.to_string()), Some(uuid));
        let upper = uuid.to_string().to_uppercase();
        for other in ["", "meta", "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", &upper] {
            assert_eq!(parse_uuid(other), None, "{other}");
        }
    }
}
