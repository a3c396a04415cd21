//! `curlew load --list`.

use super::bucket::{Bucket, VolumeBackups};
use crate::output;
use crate::when::rfc3339;
use anyhow::Result;
use chunk_store::StoredBackup;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Listed {
    backups: Vec<Entry>,
}

/// A backup as `--json` tells it.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// The volume's name; null if no backup of it can be read.
    volume: Option<String>,
    uuid: String,
    /// When it was begun.
    time: String,
    epoch: u16,
    seq: u64,
    bytes: u64,
    /// The object.
    key: String,
}

impl Entry {
    fn of(volume: &VolumeBackups, backup: &StoredBackup) -> Self {
        let name = backup.name;
        Self {
            name: name.to_string(),
            volume: volume.name.clone(),
            uuid: volume.uuid.to_string(),
            time: rfc3339(name.taken()),
            epoch: name.token().epoch.0,
            seq: name.token().seq.0,
            bytes: backup.bytes,
            key: name.key(volume.uuid),
        }
    }
}

/// Shows the backups of a bucket.
pub(super) fn print(bucket: &Bucket, json: bool) -> Result<()> {
    let all = bucket.volumes.iter();
    let all = all.flat_map(|volume| volume.backups.iter().map(|one| Entry::of(volume, one)));
    let backups: Vec<Entry> = all.collect();
    if json {
        return output::json(&Listed { backups });
    }
    if backups.is_empty() {
        return output::text_out("the bucket has no backups\n");
    }
    let rows = backups.into_iter().map(|entry| {
        vec![
            output::plain(entry.volume.as_deref().unwrap_or("-")),
            entry.uuid,
            format!("{}:{}", entry.epoch, entry.seq),
            output::bytes(entry.bytes),
            entry.name,
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header = ["VOLUME", "UUID", "CHANGE", "SIZE", "NAME"];
    output::text_out(&output::table(&header, &rows))
}
