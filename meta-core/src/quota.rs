//! What files add up to, and how much that may be.
//!
//! Every directory has totals of all that lies below it, and every user and group can have them. They
//! are rows that change with the files themselves, in the same command: nothing can drift.

use crate::ids::Ino;

/// What files add up to. A file with several names counts once, where its first name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// Files of every kind but directories.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of regular files, each rounded up to 4 KiB.
    pub bytes: u64,
}

impl Amount {
    /// Files and directories. Their ids are fewer than 2^41: it cannot overflow.
    pub const fn inodes(&self) -> u64 {
        self.files.saturating_add(self.directories)
    }
}

/// The most that something may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// In bytes; `None` is no limit.
    pub bytes: Option<u64>,
    /// In files and directories; `None` is no limit.
    pub inodes: Option<u64>,
}

impl Limit {
    /// No limit at all.
    pub const NONE: Self = Self {
        bytes: None,
        inodes: None,
    };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// What can have a limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// The whole volume, with what has no name any more.
    Volume,
    /// All that lies below a directory.
    Directory(Ino),
    /// All files with names that belong to a user.
    User(u32),
    /// All files with names that belong to a group.
    Group(u32),
}

/// What something is and may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// What it is about.
    pub subject: Subject,
    /// What it adds up to.
    pub amount: Amount,
    /// The most that it may be.
    pub limit: Limit,
    /// Whether all files are in the amount. Those that were there before anybody counted come into it
    /// one after the other.
    pub is_counted: bool,
}

/// A limit, and what is used of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// The limit.
    pub limit: u64,
    /// What is used; more than the limit where that was set below what there was.
    pub used: u64,
}

impl Room {
    /// What is left.
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// How much there is room for at a place: as the narrowest limit of the directories above it, or of the
/// volume, says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// In bytes; `None` without a limit.
    pub bytes: Option<Room>,
    /// In files and directories; `None` without a limit.
    pub inodes: Option<Room>,
}
