//! Arguments of requests as the file system takes them.

use super::adapter::Adapter;
use super::interrupt::Late;
use super::reply::timestamp;
use super::virtual_files::VirtualFile;
use crate::vfs::{OpenHow, Vfs, VfsError};
use fuser::{OpenAccMode, OpenFlags, TimeOrNow};
use meta_core::attr::{FileKind, Timestamp};
use meta_core::command::{FallocateMode, SetTime};
use meta_core::ids::Ino;
use meta_core::limits::CHUNK_BYTES;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

/// The kernel's mark of an open for execution, which it passes on among the flags.
const OPEN_TO_EXECUTE: i32 = 0x20;

pub(super) fn how(flags: i32) -> OpenHow {
    let access = OpenFlags(flags).acc_mode();
    OpenHow {
        read: access != OpenAccMode::O_WRONLY,
        write: access != OpenAccMode::O_RDONLY,
        execute: flags & OPEN_TO_EXECUTE != 0,
        truncate: flags & libc::O_TRUNC != 0,
        exclusive: flags & libc::O_EXCL != 0,
        noatime: flags & libc::O_NOATIME != 0,
    }
}

/// What fallocate is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allocation {
    /// The file gets as long as the range, if it is shorter.
    Room,
    /// Room without a change that anybody could see. Nothing is set aside: an object store has room.
    KeepSize,
    /// The range reads as zeros.
    Hole(FallocateMode),
}

impl Allocation {
    /// What is offered of it.
    pub(super) fn of(mode: i32) -> Option<Self> {
        const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH_HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP_SIZE;
        const ZERO_RANGE: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const ZERO_INSIDE: i32 = ZERO_RANGE | KEEP_SIZE;
        Some(match mode {
            0 => Self::Room,
            KEEP_SIZE => Self::KeepSize,
            PUNCH_HOLE | ZERO_INSIDE => Self::Hole(FallocateMode::Punch),
            ZERO_RANGE => Self::Hole(FallocateMode::Zero),
            _ => return None,
        })
    }
}

/// How many bytes a request to copy has copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Copied(pub(super) u32);

impl Copied {
    /// What one request copies at most: its answer has no room for more. Whole chunks, so that the next
    /// request begins where one does if this one did.
    pub(super) const MAX: u64 = u32::MAX as u64 / CHUNK_BYTES * CHUNK_BYTES;

    pub(super) fn of(bytes: u64) -> Result<Self, VfsError> {
        let fits = u32::try_from(bytes).map(Self);
        fits.map_err(|_| VfsError::Unexpected("more copied than asked for"))
    }
}

impl Late for Copied {
    fn let_go(self, _vfs: &Vfs) {}
}

pub(super) fn checked(name: &OsStr) -> Result<Name, VfsError> {
    Ok(Name::new(name.as_bytes())?)
}

impl Adapter {
    /// The mount's own file of this name.
    pub(super) fn virtual_named(&self, parent: Ino, name: &OsStr) -> Option<VirtualFile> {
        let is_root = parent == self.root.ino();
        VirtualFile::named(name.as_bytes()).filter(|_| is_root)
    }

    /// A name that is to be added.
    pub(super) fn added(&self, parent: Ino, name: &OsStr) -> Result<Name, VfsError> {
        match self.virtual_named(parent, name) {
            Some(_) => Err(Refusal::Exists.into()),
            None => checked(name),
        }
    }

    /// A name that is to go.
    pub(super) fn removed(&self, parent: Ino, name: &OsStr) -> Result<Name, VfsError> {
        match self.virtual_named(parent, name) {
            Some(_) => Err(Refusal::NotPermitted.into()),
            None => checked(name),
        }
    }
}

pub(super) fn kind_of(mode: u32) -> Option<FileKind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Some(FileKind::Regular),
        libc::S_IFIFO => Some(FileKind::Fifo),
        libc::S_IFSOCK => Some(FileKind::Socket),
        libc::S_IFCHR => Some(FileKind::CharDevice),
        libc::S_IFBLK => Some(FileKind::BlockDevice),
        _ => None,
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(decoded(time)),
    }
}

/// A time as the kernel sent it. fuser takes the nanoseconds of a time before 1970 to lie before its
/// second, and the kernel means them to lie behind it.
fn decoded(time: SystemTime) -> Timestamp {
    let Err(before) = time.duration_since(SystemTime::UNIX_EPOCH) else {
        return timestamp(time);
    };
    let before = before.duration();
    Timestamp {
        seconds: i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds),
        nanos: before.subsec_nanos(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_1970_are_set_as_the_kernel_sent_them() {
        // What fuser makes of -1 s and 1 ns: 1.000000001 s before 1970.
        let sent = SystemTime::UNIX_EPOCH - Duration::new(1, 1);
        let wanted = Timestamp {
            seconds: -1,
            nanos: 1,
        };
        assert_eq!(set_time(TimeOrNow::SpecificTime(sent)), SetTime::At(wanted));
        let sent = SystemTime::UNIX_EPOCH - Duration::new(2, 0);
        let wanted = Timestamp {
            seconds: -2,
            nanos: 0,
        };
        assert_eq!(set_time(TimeOrNow::SpecificTime(sent)), SetTime::At(wanted));
        let sent = SystemTime::UNIX_EPOCH + Duration::new(2, 5);
        let wanted = Timestamp {
            seconds: 2,
            nanos: 5,
        };
        assert_eq!(set_time(TimeOrNow::SpecificTime(sent)), SetTime::At(wanted));
    }
}
