//! Changelog records.

use super::{Convert, list, narrow, need, sixteen, unknown};
use crate::error::ConvertError;
use crate::v1;
use meta_core::changelog::{Record, RecordKind, RowChange};
use meta_core::ids::{Epoch, Level, Seq, Uuid};
use meta_core::limits::MESSAGE_BYTES_MAX;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

impl From<&Record> for v1::Record {
    fn from(word: &Record) -> Self {
        Self {
            changes: word.changes.iter().map(Into::into).collect(),
            ..head(word)
        }
    }
}

/// A record without its changes.
fn head(word: &Record) -> v1::Record {
    let Record {
        cluster,
        volume,
        epoch,
        seq,
        level,
        previous_crc,
        kind,
        stamp,
        changes: _,
    } = word;
    let kind = match kind {
        RecordKind::Change => v1::RecordKind::Change,
        RecordKind::Mark => v1::RecordKind::Mark,
    };
    v1::Record {
        cluster: cluster.0.to_vec(),
        volume: volume.0.to_vec(),
        epoch: u32::from(epoch.0),
        seq: seq.0,
        level: level.0,
        previous_crc: *previous_crc,
        kind: kind.into(),
        stamp: Some((*stamp).into()),
        changes: Vec::new(),
    }
}

/// Writes the message of a record behind `bytes`, without a copy of its rows: a record may have
/// thousands, and each command waits for its own. The changes are the message's last field.
pub(crate) fn encode(word: &Record, bytes: &mut Vec<u8>) {
    let head = head(word);
    let lens: Vec<usize> = word.changes.iter().map(change_len).collect();
    // A key of one byte and a length of up to ten.
    let room = head.encoded_len() + lens.iter().map(|len| len + 11).sum::<usize>();
    bytes.reserve(room);
    head.encode_raw(bytes);
    for (change, len) in word.changes.iter().zip(lens) {
        encode_key(CHANGES, WireType::LengthDelimited, bytes);
        encode_varint(len as u64, bytes);
        encode_change(change, bytes);
    }
}

/// Numbers of fields of `Record` and `RowChange`.
const CHANGES: u32 = 9;
const TABLE: u32 = 1;
const KEY: u32 = 2;
const OLD_HASH: u32 = 3;
const NEW: u32 = 4;

fn change_len(change: &RowChange) -> usize {
    let bytes = |len: usize| 1 + encoded_len_varint(len as u64) + len;
    let table = match change.table {
        0 => 0,
        table => 1 + encoded_len_varint(u64::from(table)),
    };
    let key = match change.key.len() {
        0 => 0,
        len => bytes(len),
    };
    let old_hash = change.old_hash.map_or(0, |_| bytes(size_of::<u128>()));
    let new = change.new.as_ref().map_or(0, |new| bytes(new.len()));
    table + key + old_hash + new
}

fn encode_change(change: &RowChange, bytes: &mut Vec<u8>) {
    let RowChange {
        table,
        key,
        old_hash,
        new,
    } = change;
    // What has its default value and no presence is left out.
    if *table != 0 {
        encode_key(TABLE, WireType::Varint, bytes);
        encode_varint(u64::from(*table), bytes);
    }
    if !key.is_empty() {
        encode_bytes(KEY, key, bytes);
    }
    if let Some(hash) = old_hash {
        encode_bytes(OLD_HASH, &hash.to_le_bytes(), bytes);
    }
    if let Some(new) = new {
        encode_bytes(NEW, new, bytes);
    }
}

fn encode_bytes(field: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
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
