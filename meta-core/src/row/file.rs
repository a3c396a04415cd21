//! Rows of files: inodes, names, slices.

use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::{Attr, FileKind, Timestamp};
use crate::ids::{ChunkIndex, DentryNumber, Ino, SliceId, SliceOrder};
use crate::name::Name;
use crate::outcome::Fatal;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inode {
    /// Its type.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number.
    pub rdev: u32,
    /// Number of names; a directory has 2 and one for each directory inside.
    pub nlink: u32,
    /// Bytes of a file, length of a target, number of names in a directory.
    pub length: u64,
    /// Last access, as far as it is kept.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
    /// The directory of its first name.
    pub parent: Ino,
    /// Its first name's number there.
    pub parent_number: DentryNumber,
    /// The next dentry number of a directory, or the next slice order of a file.
    pub next: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawInode {
    kind: u8,
    flags: U16,
    mode: U32,
    uid: U32,
    gid: U32,
    rdev: U32,
    nlink: U32,
    length: U64,
    atime: RawTime,
    mtime: RawTime,
    ctime: RawTime,
    parent: U64,
    parent_number: U64,
    next: U64,
}

impl Row for Inode {
    const WHAT: &'static str = "inode";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawInode {
            kind: self.kind as u8,
            flags: 0.into(),
            mode: self.mode.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            rdev: self.rdev.into(),
            nlink: self.nlink.into(),
            length: self.length.into(),
            atime: self.atime.into(),
            mtime: self.mtime.into(),
            ctime: self.ctime.into(),
            parent: self.parent.0.into(),
            parent_number: self.parent_number.0.into(),
            next: self.next.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawInode = open_exact(Self::WHAT, key, bytes)?;
        if raw.flags.get() != 0 {
            return Err(damaged(Self::WHAT, key, "has flags unknown here"));
        }
        Ok(Self {
            kind: kind(Self::WHAT, key, raw.kind)?,
            mode: raw.mode.get(),
            uid: raw.uid.get(),
            gid: raw.gid.get(),
            rdev: raw.rdev.get(),
            nlink: raw.nlink.get(),
            length: raw.length.get(),
            atime: raw.atime.into(),
            mtime: raw.mtime.into(),
            ctime: raw.ctime.into(),
            parent: Ino(raw.parent.get()),
            parent_number: DentryNumber(raw.parent_number.get()),
            next: raw.next.get(),
        })
    }
}

impl Inode {
    /// The attributes, as `stat` shows them.
    pub fn attr(&self, ino: Ino) -> Attr {
        Attr {
            ino,
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            nlink: self.nlink,
            length: self.length,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            parent: self.parent,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

fn kind(what: &'static str, key: &[u8], number: u8) -> Result<FileKind, Fatal> {
    FileKind::from_number(number).ok_or_else(|| damaged(what, key, "of a kind unknown here"))
}

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
