//! What a plan is made of: operations, as they are printed and sent to workers.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A path below the plan's directory. Each char up to U+00FF is one byte. A component `@N` stands for
/// N times the letter n, and the path `@deep` for one of more than 4,096 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Name(pub(super) String);

impl Name {
    /// The path as the system takes it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(bytes(&self.0)))
    }

    /// The last component as it is listed.
    pub(super) fn last(&self) -> String {
        let last = self.0.rsplit('/').find(|part| !part.is_empty());
        text(&bytes(last.unwrap_or_default()))
    }
}

fn bytes(name: &str) -> Vec<u8> {
    if name == "@deep" {
        return b"./".repeat(2_100);
    }
    let parts = name.split('/').map(|part| {
        let length = part
            .strip_prefix('@')
            .and_then(|length| length.parse().ok());
        match length {
            Some(length) => b"n".repeat(length),
            None => part
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                .collect(),
        }
    });
    parts.collect::<Vec<Vec<u8>>>().join(&b'/')
}

/// Bytes as chars up to U+00FF.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A time to be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum When {
    Now,
    Omit,
    At(i64, i64),
}

/// What is done to an extended attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum XattrAct {
    /// With this many bytes and the flags of the call.
    Set(usize, u32),
    /// With room for so many bytes.
    Get(usize),
    /// With room for so many bytes.
    List(usize),
    Remove,
}

/// Where to seek.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Whence {
    Start,
    Current,
    End,
    Data,
    Hole,
}

/// A lock that is asked for without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum LockKind {
    Flock,
    Record,
    /// Of the open file description.
    Description,
    /// Who stands in the way of a record lock?
    Ask,
}

/// How a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Hold {
    Shared,
    Exclusive,
    Unlock,
}

/// An operation on a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Op {
    Open {
        slot: u8,
        path: Name,
        flags: i32,
        mode: u32,
    },
    Mkdir {
        path: Name,
        mode: u32,
    },
    Rmdir {
        path: Name,
    },
    Unlink {
        path: Name,
    },
    Rename {
        from: Name,
        to: Name,
        flags: u32,
    },
    Link {
        from: Name,
        to: Name,
        follow: bool,
    },
    Symlink {
        target: Name,
        path: Name,
    },
    Readlink {
        path: Name,
    },
    Mknod {
        path: Name,
        mode: u32,
        device: u64,
    },
    Chmod {
        path: Name,
        mode: u32,
    },
    Chown {
        path: Name,
        uid: Option<u32>,
        gid: Option<u32>,
        follow: bool,
    },
    Utimes {
        path: Name,
        atime: When,
        mtime: When,
        follow: bool,
    },
    Truncate {
        path: Name,
        length: i64,
    },
    Xattr {
        path: Name,
        follow: bool,
        name: Name,
        act: XattrAct,
    },
    Access {
        path: Name,
        mode: u32,
    },
    Stat {
        path: Name,
        follow: bool,
    },
    Statfs {
        path: Name,
    },
    List {
        path: Name,
    },
    ReadAll {
        path: Name,
    },
    /// Open, write, close.
    Store {
        path: Name,
        flags: i32,
        at: i64,
        length: usize,
        fill: u8,
    },
    Close {
        slot: u8,
    },
    On {
        slot: u8,
        act: Act,
    },
    Copy {
        from: u8,
        from_at: Option<u64>,
        to: u8,
        to_at: Option<u64>,
        length: usize,
    },
}

/// An operation on what is open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Act {
    Read {
        length: usize,
    },
    Write {
        length: usize,
        fill: u8,
    },
    ReadAt {
        at: i64,
        length: usize,
    },
    WriteAt {
        at: i64,
        length: usize,
        fill: u8,
    },
    Truncate {
        length: i64,
    },
    Seek {
        at: i64,
        whence: Whence,
    },
    Fallocate {
        mode: u32,
        at: i64,
        length: i64,
    },
    /// A shared map is written, synced and unmapped.
    Map {
        at: i64,
        length: usize,
        fill: u8,
    },
    Sync {
        data_only: bool,
    },
    Stat,
    Chmod {
        mode: u32,
    },
    Chown {
        uid: Option<u32>,
        gid: Option<u32>,
    },
    Utimes {
        atime: When,
        mtime: When,
    },
    Lock {
        kind: LockKind,
        hold: Hold,
        at: i64,
        length: i64,
    },
    /// The next entries of a listing; 0 for all that are left, which then is checked as a whole.
    Entries {
        count: usize,
    },
    /// Back to the place behind so many entries.
    Back {
        to: usize,
    },
}

/// Whom a plan's processes run as: user, group, further groups, umask.
pub(super) const PROCESSES: [(u32, u32, &[u32], u32); 5] = [
    (0, 0, &[], 0o022),
    (0, 0, &[], 0),
    (1_501, 1_501, &[1_600], 0o027),
    (1_501, 1_501, &[], 0o002),
    (1_502, 1_502, &[1_600, 1_601], 0),
];

/// An operation of one process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// Which process, of [`PROCESSES`].
    pub(super) process: usize,
    /// Which mount, where there are two.
    pub(super) mount: usize,
    /// Whether it is compared which times it changed.
    pub(super) timed: bool,
    pub(super) op: Op,
}

/// Steps, and how they follow each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// One after the other.
    Ordered(Step),
    /// Each process its own, at once, in directories of their own.
    Apart(Vec<Step>),
    /// Both at once on the same names, through one mount each: the outcome is that of one order.
    Race(Step, Step),
}

impl Op {
    /// The paths that it names.
    pub(super) fn paths(&self) -> Vec<&Name> {
        match self {
            Self::Open { path, .. }
            | Self::Mkdir { path, .. }
            | Self::Rmdir { path }
            | Self::Unlink { path }
            | Self::Symlink { path, .. }
            | Self::Readlink { path }
            | Self::Mknod { path, .. }
            | Self::Chmod { path, .. }
            | Self::Chown { path, .. }
            | Self::Utimes { path, .. }
            | Self::Truncate { path, .. }
            | Self::Xattr { path, .. }
            | Self::Access { path, .. }
            | Self::Stat { path, .. }
            | Self::Statfs { path }
            | Self::List { path }
            | Self::ReadAll { path }
            | Self::Store { path, .. } => vec![path],
            Self::Rename { from, to, .. } | Self::Link { from, to, .. } => vec![from, to],
            Self::Close { .. } | Self::On { .. } | Self::Copy { .. } => Vec::new(),
        }
    }

    /// In which kinds an operation is counted.
    pub(super) fn kind(&self) -> String {
        let named = match self {
            Self::On { act, .. } => format!("{act:?}"),
            _ => format!("{self:?}"),
        };
        let end = named
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(named.len());
        let prefix = if matches!(self, Self::On { .. }) {
            "handle "
        } else {
            ""
        };
        format!("{prefix}{}", &named[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_stand_for_any_bytes() {
        let of = |name: &str| Name(name.to_owned()).path().as_os_str().as_bytes().to_vec();
        assert_eq!(of("a/\u{ff}b/"), b"a/\xffb/");
        assert_eq!(of("@255/x").len(), 257);
        assert!(of("@deep").len() > 4_096);
        assert_eq!(Name("a/@3/".to_owned()).last(), "nnn");
        assert_eq!(text(b"\xffb"), "\u{ff}b");
    }
}
