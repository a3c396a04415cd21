//! Rows of files beside their inodes: names, slices, holes.

use super::inode::kind;
use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::{FileKind, Timestamp};
use crate::ids::{ChunkIndex, DentryNumber, Ino, SliceId, SliceOrder};
use crate::name::Name;
use crate::outcome::Fatal;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dentry {
    /// The file.
    pub ino: Ino,
    /// Its type.
    pub kind: FileKind,
    /// The name's number in the directory.
    pub number: DentryNumber,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDentry {
    kind: u8,
    ino: U64,
    number: U64,
}

impl Row for Dentry {
    const WHAT: &'static str = "dentry";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawDentry {
            kind: self.kind as u8,
            ino: self.ino.0.into(),
            number: self.number.0.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawDentry = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            ino: Ino(raw.ino.get()),
            kind: kind(Self::WHAT, key, raw.kind)?,
            number: DentryNumber(raw.number.get()),
        })
    }
}

/// A name as its number finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The file.
    pub ino: Ino,
    /// Its type.
    pub kind: FileKind,
    /// The name.
    pub name: Name,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawNamed {
    kind: u8,
    ino: U64,
}

impl Row for Named {
    const WHAT: &'static str = "dentry number";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawNamed {
            kind: self.kind as u8,
            ino: self.ino.0.into(),
        };
        seal(key, raw.as_bytes(), self.name.as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, name): (&RawNamed, _) = open_fixed(Self::WHAT, key, bytes)?;
        Ok(Self {
            ino: Ino(raw.ino.get()),
            kind: kind(Self::WHAT, key, raw.kind)?,
            name: Name::new(name).map_err(|_| damaged(Self::WHAT, key, "holds no name"))?,
        })
    }
}

/// A part of an uploaded slice as it lies in a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SliceRow {
    /// The slice.
    pub id: SliceId,
    /// Bytes of the whole slice.
    pub size: u32,
    /// Where this part begins in the slice.
    pub off: u32,
    /// Bytes of this part.
    pub len: u32,
    /// Where this part begins in the chunk.
    pub at: u32,
    /// CRC-32 of each frame of the whole slice.
    pub frame_crcs: Vec<u32>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSlice {
    id: U64,
    size: U32,
    off: U32,
    len: U32,
    at: U32,
}

impl Row for SliceRow {
    const WHAT: &'static str = "slice";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawSlice {
            id: self.id.0.into(),
            size: self.size.into(),
            off: self.off.into(),
            len: self.len.into(),
            at: self.at.into(),
        };
        let crcs: Vec<u8> = self
            .frame_crcs
            .iter()
            .flat_map(|crc| crc.to_le_bytes())
            .collect();
        seal(key, raw.as_bytes(), &crcs)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, crcs): (&RawSlice, _) = open_fixed(Self::WHAT, key, bytes)?;
        let (crcs, rest) = crcs.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(damaged(Self::WHAT, key, "crcs are cut"));
        }
        Ok(Self {
            id: SliceId(raw.id.get()),
            size: raw.size.get(),
            off: raw.off.get(),
            len: raw.len.get(),
            at: raw.at.get(),
            frame_crcs: crcs.iter().map(|crc| u32::from_le_bytes(*crc)).collect(),
        })
    }
}

/// A truncation: slices of a lower order end at `length`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The file's length then, in bytes.
    pub length: u64,
    /// How far trimming came: the chunk to continue in.
    pub chunk: ChunkIndex,
    /// How far trimming came: the order to continue at.
    pub order: SliceOrder,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCut {
    length: U64,
    chunk: U32,
    order: U64,
}

impl Row for Cut {
    const WHAT: &'static str = "cut";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawCut {
            length: self.length.into(),
            chunk: self.chunk.0.into(),
            order: self.order.0.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawCut = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            length: raw.length.get(),
            chunk: ChunkIndex(raw.chunk.get()),
            order: SliceOrder(raw.order.get()),
        })
    }
}

/// A range of a chunk in which slices of a lower order show nothing: it reads as zeros where no later one
/// lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// Where it begins in the chunk, in bytes.
    pub at: u32,
    /// Its bytes, at least 1.
    pub len: u32,
}

impl Hole {
    /// Where it ends in the chunk.
    pub fn end(&self) -> u32 {
        self.at.saturating_add(self.len)
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHole {
    at: U32,
    len: U32,
}

impl Row for Hole {
    const WHAT: &'static str = "hole";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawHole {
            at: self.at.into(),
            len: self.len.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawHole = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            at: raw.at.get(),
            len: raw.len.get(),
        })
    }
}

/// A slice that more than one row of a file's data shows, or once did. Of a slice without this row there is
/// one, or two beside each other where it was appended over the border of two chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedSlice {
    /// Rows that show the slice, at least 1. With the last of them this one goes.
    pub rows: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSharedSlice {
    rows: U64,
}

impl Row for SharedSlice {
    const WHAT: &'static str = "shared slice";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawSharedSlice {
            rows: self.rows.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawSharedSlice = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            rows: raw.rows.get(),
        })
    }
}

/// A slice that no file uses any more; its blocks wait for their deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingDelete {
    /// Bytes of the slice.
    pub size: u32,
    /// When the last use went.
    pub since: Timestamp,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPendingDelete {
    size: U32,
    since: RawTime,
}

impl Row for PendingDelete {
    const WHAT: &'static str = "pending delete";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawPendingDelete {
            size: self.size.into(),
            since: self.since.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawPendingDelete = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            size: raw.size.get(),
            since: raw.since.into(),
        })
    }
}
