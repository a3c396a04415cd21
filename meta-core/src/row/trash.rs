//! Rows of the trash, and of what a volume is told to do.

use super::inode::kind;
use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::{FileKind, Timestamp};
use crate::ids::Ino;
use crate::name::Name;
use crate::outcome::Fatal;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A file in the trash: where and when it lost its last name, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trashed {
    /// Its type.
    pub kind: FileKind,
    /// When it was removed.
    pub removed: Timestamp,
    /// Who removed it.
    pub uid: u32,
    /// The directory that held the name.
    pub parent: Ino,
    /// The name.
    pub name: Name,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTrashed {
    kind: u8,
    removed: RawTime,
    uid: U32,
    parent: U64,
}

impl Row for Trashed {
    const WHAT: &'static str = "trash";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawTrashed {
            kind: self.kind as u8,
            removed: self.removed.into(),
            uid: self.uid.into(),
            parent: self.parent.0.into(),
        };
        seal(key, raw.as_bytes(), self.name.as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, name): (&RawTrashed, _) = open_fixed(Self::WHAT, key, bytes)?;
        Ok(Self {
            kind: kind(Self::WHAT, key, raw.kind)?,
            removed: raw.removed.into(),
            uid: raw.uid.get(),
            parent: Ino(raw.parent.get()),
            name: Name::new(name).map_err(|_| damaged(Self::WHAT, key, "holds no name"))?,
        })
    }
}

/// What all files in the trash add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrashTotals {
    /// Files of every kind.
    pub inodes: u64,
    /// Bytes of regular files, each rounded up to 4 KiB.
    pub bytes: u64,
    /// Nothing in the trash was removed before this: rows that went are in the store's way for long.
    pub begin: Timestamp,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTrashTotals {
    inodes: U64,
    bytes: U64,
    begin: RawTime,
}

impl Row for TrashTotals {
    const WHAT: &'static str = "trash totals";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawTrashTotals {
            inodes: self.inodes.into(),
            bytes: self.bytes.into(),
            begin: self.begin.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawTrashTotals = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            inodes: raw.inodes.get(),
            bytes: raw.bytes.get(),
            begin: raw.begin.into(),
        })
    }
}

/// What a volume is told to do; without a row, the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long removed files stay in the trash; with 0 there is none.
    pub trash_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trash_seconds: crate::limits::TRASH_SECONDS_DEFAULT,
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOptions {
    trash_seconds: U64,
}

impl Row for Options {
    const WHAT: &'static str = "options";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawOptions {
            trash_seconds: self.trash_seconds.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawOptions = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            trash_seconds: raw.trash_seconds.get(),
        })
    }
}
