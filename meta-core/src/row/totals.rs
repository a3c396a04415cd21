//! Rows of what files add up to.

use super::{Row, damaged, open_fixed, seal};
use crate::ids::Ino;
use crate::outcome::Fatal;
use crate::quota::{Amount, Limit};
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What lies below a directory, or belongs to a user or group. There is no row without either of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// The directory above, whose totals change with these; 0 for a user or group.
    pub parent: Ino,
    /// What it adds up to.
    pub amount: Amount,
    /// The most that it may be.
    pub limit: Limit,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTotals {
    parent: U64,
    files: U64,
    directories: U64,
    bytes: U64,
}

/// The tail of a row with a limit.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawLimit {
    bytes: U64,
    inodes: U64,
}

/// Stands for no limit.
const UNLIMITED: u64 = u64::MAX;

impl From<Limit> for RawLimit {
    fn from(limit: Limit) -> Self {
        Self {
            bytes: limit.bytes.unwrap_or(UNLIMITED).into(),
            inodes: limit.inodes.unwrap_or(UNLIMITED).into(),
        }
    }
}

impl From<RawLimit> for Limit {
    fn from(raw: RawLimit) -> Self {
        let limit = |number: U64| Some(number.get()).filter(|number| *number != UNLIMITED);
        Self {
            bytes: limit(raw.bytes),
            inodes: limit(raw.inodes),
        }
    }
}

impl Row for Totals {
    const WHAT: &'static str = "totals";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawTotals {
            parent: self.parent.0.into(),
            files: self.amount.files.into(),
            directories: self.amount.directories.into(),
            bytes: self.amount.bytes.into(),
        };
        if self.limit.is_none() {
            return seal(key, raw.as_bytes(), &[]);
        }
        seal(key, raw.as_bytes(), RawLimit::from(self.limit).as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, tail): (&RawTotals, _) = open_fixed(Self::WHAT, key, bytes)?;
        let limit = if tail.is_empty() {
            Limit::NONE
        } else {
            let raw = RawLimit::ref_from_bytes(tail)
                .map_err(|_| damaged(Self::WHAT, key, "of another length"))?;
            Limit::from(*raw)
        };
        if limit.is_none() != tail.is_empty() {
            return Err(damaged(Self::WHAT, key, "limits nothing"));
        }
        Ok(Self {
            parent: Ino(raw.parent.get()),
            amount: Amount {
                files: raw.files.get(),
                directories: raw.directories.get(),
                bytes: raw.bytes.get(),
            },
            limit,
        })
    }
}
