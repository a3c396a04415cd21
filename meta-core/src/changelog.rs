//! The changelog: what each command did to the replicated rows, in order, each record chained to
//! the one before. A mirror applies records without knowing what the commands meant.

use crate::attr::Timestamp;
use crate::ids::{ClusterId, Epoch, Level, Seq, VolumeUuid};
use crate::outcome::Fatal;

/// What one change did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The cluster that took the change.
    pub cluster: ClusterId,
    /// The volume.
    pub volume: VolumeUuid,
    /// The ownership under which it was taken.
    pub epoch: Epoch,
    /// Its number, one more than the record before.
    pub seq: Seq,
    /// The volume's level then.
    pub level: Level,
    /// The crc of the record before; 0 for the first.
    pub previous_crc: u32,
    /// What kind of change it is.
    pub kind: RecordKind,
    /// The stamp of the change.
    pub stamp: Timestamp,
    /// The rows that differ after it, in key order.
    pub changes: Vec<RowChange>,
}

/// Kinds of records. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum RecordKind {
    /// Row changes.
    Change = 1,
    /// No change: every copy of the volume keeps a view of its rows at this number for a while,
    /// so that copies can be compared while they go on.
    Mark = 2,
}

impl RecordKind {
    /// The kind stored as `number`, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Change),
            2 => Some(Self::Mark),
            _ => None,
        }
    }
}

/// A replicated row before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowChange {
    /// The table's tag.
    pub table: u8,
    /// The key behind volume and tag.
    pub key: Vec<u8>,
    /// [`crate::digest::row_hash`] of the row before, if there was one.
    pub old_hash: Option<u128>,
    /// The row after, if there is one.
    pub new: Option<Vec<u8>>,
}

/// A record as it is stored and sent: its body's bytes behind their chained crc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedRecord {
    /// CRC-32 of the body.
    pub crc: u32,
    /// The encoded [`Record`].
    pub body: Vec<u8>,
}

impl SealedRecord {
    /// Whether the bytes are those that were sealed.
    pub fn is_intact(&self) -> bool {
        crc32fast::hash(&self.body) == self.crc
    }

    /// Seals an encoded record. The body holds the previous crc, so this one chains to it.
    pub fn seal(body: Vec<u8>) -> Self {
        Self {
            crc: crc32fast::hash(&body),
            body,
        }
    }

    /// As stored: crc little-endian, then the body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.body.len());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Fatal::Damaged`] if the crc does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fatal> {
        let damaged = |why| Fatal::Damaged {
            what: "changelog record",
            key: String::new(),
            why,
        };
        let (crc, body) = bytes.split_first_chunk::<4>().ok_or(damaged("too short"))?;
        let sealed = Self {
            crc: u32::from_le_bytes(*crc),
            body: body.to_vec(),
        };
        if crc32fast::hash(&sealed.body) != sealed.crc {
            return Err(damaged("crc differs"));
        }
        Ok(sealed)
    }
}
