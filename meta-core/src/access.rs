//! Who may do what: mode bits, ownership, the sticky bit.

use crate::attr::{Attr, Caller, mode};
use crate::outcome::Refusal;
use crate::row::Inode;

/// What a caller wants of a file; combined by addition.
pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;
pub(crate) const EXECUTE: u32 = 1;

/// Whether mode bits allow all that is wanted.
///
/// The first class that fits decides alone: an owner without a bit is not saved by its group.
pub(crate) fn check(inode: &Inode, caller: &Caller, wanted: u32) -> Result<(), Refusal> {
    check_bits((inode.mode, inode.uid, inode.gid), caller, wanted)
}

/// As [`check`], by a file's attributes.
pub(crate) fn check_attr(attr: &Attr, caller: &Caller, wanted: u32) -> Result<(), Refusal> {
    check_bits((attr.mode, attr.uid, attr.gid), caller, wanted)
}

fn check_bits(
    (mode, uid, gid): (u32, u32, u32),
    caller: &Caller,
    wanted: u32,
) -> Result<(), Refusal> {
    if caller.is_root() {
        return Ok(());
    }
    let shift = if caller.uid == uid {
        6
    } else if caller.in_group(gid) {
        3
    } else {
        0
    };
    if (mode >> shift) & wanted == wanted {
        Ok(())
    } else {
        Err(Refusal::AccessDenied)
    }
}

/// Whether the caller owns the file, or is above that.
pub(crate) fn owns(inode: &Inode, caller: &Caller) -> bool {
    caller.is_root() || caller.uid == inode.uid
}

/// Whether a name of `file` may go out of `directory`.
pub(crate) fn check_removal(
    directory: &Inode,
    file: &Inode,
    caller: &Caller,
) -> Result<(), Refusal> {
    check(directory, caller, WRITE | EXECUTE)?;
    let sticky = directory.mode & mode::STICKY != 0;
    if sticky && !owns(directory, caller) && !owns(file, caller) {
        return Err(Refusal::NotPermitted);
    }
    Ok(())
}

/// Mode bits without what a change by a stranger takes away: set-user-id, and set-group-id where
/// it means execution.
pub(crate) fn without_privilege(bits: u32) -> u32 {
    let mut left = bits & !mode::SET_UID;
    if left & mode::GROUP_EXECUTE != 0 {
        left &= !mode::SET_GID;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{FileKind, Timestamp};
    use crate::ids::{DentryNumber, Ino};

    fn inode(mode: u32, uid: u32, gid: u32) -> Inode {
        Inode {
            kind: FileKind::Regular,
            mode,
            uid,
            gid,
            rdev: 0,
            nlink: 1,
            length: 0,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            parent: Ino::ROOT,
            parent_number: DentryNumber::FIRST,
            next: 0,
            btime: None,
            holes: false,
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let file = inode(0o074, 1, 2);
        let owner = Caller {
            uid: 1,
            gid: 2,
            groups: vec![],
        };
        let member = Caller {
            uid: 3,
            gid: 9,
            groups: vec![8, 2],
        };
        let other = Caller {
            uid: 3,
            gid: 9,
            groups: vec![8],
        };
        assert_eq!(check(&file, &owner, READ), Err(Refusal::AccessDenied));
        assert_eq!(check(&file, &member, READ | WRITE | EXECUTE), Ok(()));
        assert_eq!(check(&file, &other, READ), Ok(()));
        assert_eq!(check(&file, &other, WRITE), Err(Refusal::AccessDenied));
        assert_eq!(check(&file, &Caller::root(), WRITE), Ok(()));
    }

    #[test]
    fn privilege_bits_go_only_where_they_mean_execution() {
        assert_eq!(without_privilege(0o6755), 0o0755);
        assert_eq!(without_privilege(0o6744), 0o2744);
    }
}
