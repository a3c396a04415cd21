//! Changelog records.

use super::{Convert, list, narrow, need, sixteen, unknown};
use crate::error::ConvertError;
use crate::v1;
use meta_core::changelog::{Record, RecordKind, RowChange};
use meta_core::ids::{Epoch, Level, Seq, Uuid};
use meta_core::limits::MESSAGE_BYTES_MAX;

impl From<&Record> for v1::Record {
    fn from(word: &Record) -> Self {
        let Record {
            cluster,
            volume,
            epoch,
            seq,
            level,
            previous_crc,
            kind,
            stamp,
            changes,
        } = word;
        let kind = match kind {
            RecordKind::Change => v1::RecordKind::Change,
            RecordKind::Mark => v1::RecordKind::Mark,
        };
        Self {
            cluster: cluster.0.to_vec(),
            volume: volume.0.to_vec(),
            epoch: u32::from(epoch.0),
            seq: seq.0,
            level: level.0,
            previous_crc: *previous_crc,
            kind: kind.into(),
            stamp: Some((*stamp).into()),
            changes: changes.iter().map(Into::into).collect(),
        }
    }
}

impl Convert<Record> for v1::Record {
    fn convert(self) -> Result<Record, ConvertError> {
        let kind = match v1::RecordKind::try_from(self.kind) {
            Ok(v1::RecordKind::Change) => RecordKind::Change,
            Ok(v1::RecordKind::Mark) => RecordKind::Mark,
            Ok(v1::RecordKind::Unspecified) | Err(_) => {
                return Err(unknown("Record.kind", self.kind));
            }
        };
        Ok(Record {
            cluster: Uuid(sixteen(&self.cluster, "Record.cluster")?),
            volume: Uuid(sixteen(&self.volume, "Record.volume")?),
            epoch: Epoch(narrow(self.epoch, "Record.epoch", u16::MAX)?),
            seq: Seq(self.seq),
            level: Level(self.level),
            previous_crc: self.previous_crc,
            kind,
            stamp: need(self.stamp, "Record.stamp")?,
            changes: list(self.changes, "Record.changes", MESSAGE_BYTES_MAX)?,
        })
    }
}

impl From<&RowChange> for v1::RowChange {
    fn from(word: &RowChange) -> Self {
        let RowChange {
            table,
            key,
            old_hash,
            new,
        } = word;
        Self {
            table: u32::from(*table),
            key: key.clone(),
            old_hash: old_hash.map(|hash| hash.to_le_bytes().to_vec()),
            new: new.clone(),
        }
    }
}

impl Convert<RowChange> for v1::RowChange {
    fn convert(self) -> Result<RowChange, ConvertError> {
        let hash = self
            .old_hash
            .map(|hash| sixteen(&hash, "RowChange.old_hash"))
            .transpose()?;
        Ok(RowChange {
            table: narrow(self.table, "RowChange.table", u8::MAX)?,
            key: self.key,
            old_hash: hash.map(u128::from_le_bytes),
            new: self.new,
        })
    }
}
