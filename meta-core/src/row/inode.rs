//! The row of a file.

use super::{RawTime, Row, VERSION as FIRST_VERSION, damaged, open_versioned, seal, seal_version};
use crate::acl::Guard;
use crate::attr::{Attr, FileKind, Timestamp};
use crate::ids::{DentryNumber, Ino};
use crate::limits::FILE_BYTES_MAX;
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
    /// When it was made; unknown of files that were made below level 2.
    pub btime: Option<Timestamp>,
    /// Whether it may have rows of holes.
    pub holes: bool,
    /// Whether an access ACL is among its attributes.
    pub access_acl: bool,
    /// Whether a default ACL is among its attributes.
    pub default_acl: bool,
}

/// The version of rows that say when the file was made, or have flags.
const VERSION: u8 = 2;
/// The row says when the file was made.
const HAS_BTIME: u16 = 1;
/// The file may have rows of holes.
const HAS_HOLES: u16 = 2;
/// The file has an access ACL; not below level 3.
const HAS_ACCESS_ACL: u16 = 4;
/// The directory has a default ACL; not below level 3.
const HAS_DEFAULT_ACL: u16 = 8;
const KNOWN_FLAGS: u16 = HAS_BTIME | HAS_HOLES | HAS_ACCESS_ACL | HAS_DEFAULT_ACL;

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

/// What a row of version 2 has behind the fields of version 1.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawInode2 {
    first: RawInode,
    btime: RawTime,
}

impl Row for Inode {
    const WHAT: &'static str = "inode";

    /// A row without anything that version 1 lacks is one of version 1: below level 2 there is no other.
    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let flag = |on: bool, flag: u16| if on { flag } else { 0 };
        let flags = flag(self.btime.is_some(), HAS_BTIME)
            | flag(self.holes, HAS_HOLES)
            | flag(self.access_acl, HAS_ACCESS_ACL)
            | flag(self.default_acl, HAS_DEFAULT_ACL);
        let raw = RawInode {
            kind: self.kind as u8,
            flags: flags.into(),
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
        if flags == 0 {
            return seal(key, raw.as_bytes(), &[]);
        }
        let raw = RawInode2 {
            first: raw,
            btime: self.btime.unwrap_or_default().into(),
        };
        seal_version(VERSION, key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let short = || damaged(Self::WHAT, key, "of another length");
        let unknown = |what| damaged(Self::WHAT, key, what);
        match open_versioned(Self::WHAT, key, bytes)? {
            (FIRST_VERSION, body) => {
                let raw = RawInode::ref_from_bytes(body).map_err(|_| short())?;
                if raw.flags.get() != 0 {
                    return Err(unknown("has flags unknown here"));
                }
                raw.read(key)
            }
            (VERSION, body) => {
                let raw = RawInode2::ref_from_bytes(body).map_err(|_| short())?;
                let flags = raw.first.flags.get();
                if flags == 0 || flags & !KNOWN_FLAGS != 0 {
                    return Err(unknown("has flags unknown here"));
                }
                Ok(Self {
                    btime: (flags & HAS_BTIME != 0).then(|| raw.btime.into()),
                    holes: flags & HAS_HOLES != 0,
                    access_acl: flags & HAS_ACCESS_ACL != 0,
                    default_acl: flags & HAS_DEFAULT_ACL != 0,
                    ..raw.first.read(key)?
                })
            }
            _ => Err(unknown("of a version unknown here")),
        }
    }
}

impl RawInode {
    fn read(&self, key: &[u8]) -> Result<Inode, Fatal> {
        if self.length.get() > FILE_BYTES_MAX {
            return Err(damaged(Inode::WHAT, key, "longer than a file can be"));
        }
        Ok(Inode {
            kind: kind(Inode::WHAT, key, self.kind)?,
            mode: self.mode.get(),
            uid: self.uid.get(),
            gid: self.gid.get(),
            rdev: self.rdev.get(),
            nlink: self.nlink.get(),
            length: self.length.get(),
            atime: self.atime.into(),
            mtime: self.mtime.into(),
            ctime: self.ctime.into(),
            parent: Ino(self.parent.get()),
            parent_number: DentryNumber(self.parent_number.get()),
            next: self.next.get(),
            btime: None,
            holes: false,
            access_acl: false,
            default_acl: false,
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
            btime: self.btime,
            access_acl: self.access_acl,
            default_acl: self.default_acl,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

pub(super) fn kind(what: &'static str, key: &[u8], number: u8) -> Result<FileKind, Fatal> {
    FileKind::from_number(number).ok_or_else(|| damaged(what, key, "of a kind unknown here"))
}

impl From<&Inode> for Guard {
    fn from(inode: &Inode) -> Self {
        Self {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            has_acl: inode.access_acl,
        }
    }
}
