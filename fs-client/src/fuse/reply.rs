//! Attributes as the kernel takes them, and one way to refuse for all kinds of replies.

use super::root::Root;
use fuser::{Errno, FileAttr, FileType};
use meta_core::attr::{Attr, FileKind, Timestamp};
use std::time::{Duration, SystemTime};

/// The unit of `st_blocks`.
const SECTOR_BYTES: u64 = 512;
/// What a file's data counts for, as in the volume's totals.
const UNIT_BYTES: u64 = 4096;
/// `st_blksize`: what programs read and write at a time.
const IO_BYTES: u32 = 128 << 10;

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) fn file_attr(root: Root, attr: &Attr) -> FileAttr {
    let blocks = match attr.kind {
        FileKind::Regular => attr.length.div_ceil(UNIT_BYTES) * (UNIT_BYTES / SECTOR_BYTES),
        FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => 0,
    };
    FileAttr {
        ino: root.kernel(attr.ino),
        size: attr.length,
        blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & meta_core::attr::mode::MASK).unwrap_or(0),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: IO_BYTES,
        flags: 0,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let whole = if time.seconds >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time that the kernel sets, as it is stored.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timestamp {
                    seconds: -seconds,
                    nanos: 0,
                },
                nanos => Timestamp {
                    seconds: -seconds - 1,
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}

/// A reply that can say no.
pub(super) trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),+ $(,)?) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })+
    };
}

refuse!(
    fuser::ReplyAttr,
    fuser::ReplyCreate,
    fuser::ReplyData,
    fuser::ReplyDirectory,
    fuser::ReplyDirectoryPlus,
    fuser::ReplyEmpty,
    fuser::ReplyEntry,
    fuser::ReplyLock,
    fuser::ReplyLseek,
    fuser::ReplyOpen,
    fuser::ReplyStatfs,
    fuser::ReplyWrite,
    fuser::ReplyXattr,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        for time in [
            Timestamp {
                seconds: -2,
                nanos: 250_000_000,
            },
            Timestamp {
                seconds: -1,
                nanos: 0,
            },
            Timestamp {
                seconds: 0,
                nanos: 1,
            },
            Timestamp {
                seconds: 1 << 33,
                nanos: 999_999_999,
            },
        ] {
            assert_eq!(timestamp(system_time(time)), time);
        }
    }
}
