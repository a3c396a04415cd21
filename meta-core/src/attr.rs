//! What a file is, apart from its names and its data.

use crate::ids::Ino;

/// A point in time: seconds since 1970 (negative before it) and nanoseconds below a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

const NANOS_PER_SECOND: u32 = 1_000_000_000;

impl Timestamp {
    /// The next instant that a clock of this grain can tell.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.nanos + 1 < NANOS_PER_SECOND {
            Self {
                seconds: self.seconds,
                nanos: self.nanos + 1,
            }
        } else {
            Self {
                seconds: self.seconds.saturating_add(1),
                nanos: 0,
            }
        }
    }

    /// Nanoseconds since 1970; negative before it.
    pub const fn as_nanos(self) -> i128 {
        self.seconds as i128 * NANOS_PER_SECOND as i128 + self.nanos as i128
    }

    /// Whether the nanoseconds are in range.
    pub const fn is_valid(self) -> bool {
        self.nanos < NANOS_PER_SECOND
    }
}

/// The type of a file. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum FileKind {
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A Unix socket.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl FileKind {
    /// The kind stored as `number`, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::Symlink,
            4 => Self::Fifo,
            5 => Self::Socket,
            6 => Self::CharDevice,
            7 => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// Permission bits and what goes with them (`0o7777` at most).
pub mod mode {
    /// Set-user-id.
    pub const SET_UID: u32 = 0o4000;
    /// Set-group-id.
    pub const SET_GID: u32 = 0o2000;
    /// The sticky bit: only owners remove names.
    pub const STICKY: u32 = 0o1000;
    /// Execution by the group.
    pub const GROUP_EXECUTE: u32 = 0o010;
    /// All bits that a file's mode keeps.
    pub const MASK: u32 = 0o7777;
}

/// A file's attributes, as `stat` shows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attr {
    /// The file.
    pub ino: Ino,
    /// Its type.
    pub kind: FileKind,
    /// Permission bits, at most [`mode::MASK`].
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file, as Linux encodes it in 32 bits.
    pub rdev: u32,
    /// Number of names; a directory has 2 and one for each directory inside.
    pub nlink: u32,
    /// Bytes of a file, length of a symlink's target, or number of names in a directory.
    pub length: u64,
    /// Last access, as far as it is kept.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the content or the attributes.
    pub ctime: Timestamp,
    /// The directory that holds the file's first name; the root's is the root.
    pub parent: Ino,
    /// When the file was made, where that is known.
    pub btime: Option<Timestamp>,
    /// Whether it has an access ACL ([`crate::acl::ACCESS`]): mode bits do not decide for everybody.
    pub access_acl: bool,
    /// Whether it has a default ACL ([`crate::acl::DEFAULT`]); only a directory may.
    pub default_acl: bool,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Caller {
    /// The superuser, whom no permission stops.
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether this is the superuser.
    pub const fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether `gid` is the caller's group or one of the supplementary ones.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
