//! Who may do what: mode bits, ACLs, ownership, the sticky bit.

use crate::acl::{ACCESS, Acl, Guard};
use crate::attr::{Attr, Caller, mode};
use crate::ids::{Ino, Level};
use crate::key;
use crate::kv::KvRead;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::row::{Blob, Inode};
use crate::tables::Tables;

/// What a caller wants of a file; combined by addition.
pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;
pub(crate) const EXECUTE: u32 = 1;

/// Whether a file allows all that is wanted.
pub(crate) fn check<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    (ino, inode): (Ino, &Inode),
    caller: &Caller,
    wanted: u32,
) -> Result<(), Stop> {
    let guard = Guard::from(inode);
    let acl = needed_acl(tables, ino, guard, caller)?;
    Ok(guard.check(acl.as_ref(), caller, wanted)?)
}

/// As [`check`], by a file's attributes, and by its ACL where that is needed.
pub(crate) fn check_attr(
    file: &Attr,
    acl: Option<&Acl>,
    caller: &Caller,
    wanted: u32,
) -> Result<(), Refusal> {
    Guard::from(file).check(acl, caller, wanted)
}

/// A file's access ACL, if what the caller may do depends on it.
pub(crate) fn needed_acl<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    ino: Ino,
    guard: Guard,
    caller: &Caller,
) -> Result<Option<Acl>, Fatal> {
    if !guard.needs_acl(caller) {
        return Ok(None);
    }
    // A file that is about to be deleted may have lost it already: then nobody may do anything.
    stored_acl(tables, ino, ACCESS)
}

/// One of a file's ACLs.
pub(crate) fn stored_acl<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    ino: Ino,
    name: &[u8],
) -> Result<Option<Acl>, Fatal> {
    let row: Option<Blob> = tables.row(&key::xattr(tables.volume(), ino, name))?;
    row.map_or(Ok(None), |Blob(value)| {
        Acl::parse(&value).map_err(|_| Fatal::Invariant("a stored ACL makes no sense"))
    })
}

/// Whether the caller owns the file, or is above that.
pub(crate) fn owns(inode: &Inode, caller: &Caller) -> bool {
    caller.is_root() || caller.uid == inode.uid
}

/// Whether a name of `file` may go out of a directory.
pub(crate) fn check_removal<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    (ino, directory): (Ino, &Inode),
    file: &Inode,
    caller: &Caller,
) -> Result<(), Stop> {
    check(tables, (ino, directory), caller, WRITE | EXECUTE)?;
    Ok(check_sticky(directory, file, caller)?)
}

/// Whether a name of `file` may go out of a directory that the caller may change.
pub(crate) fn check_sticky(
    directory: &Inode,
    file: &Inode,
    caller: &Caller,
) -> Result<(), Refusal> {
    let sticky = directory.mode & mode::STICKY != 0;
    if sticky && !owns(directory, caller) && !owns(file, caller) {
        return Err(Refusal::NotPermitted);
    }
    Ok(())
}

/// The level from which set-group-id that does not mean execution goes as well, if who changes the file is
/// not in its group.
const STRANGERS_LEVEL: Level = Level(6);

/// Takes from a file what a change by a stranger takes away: set-user-id, and set-group-id where it means
/// execution or the caller is not in the group, as on Linux.
pub(crate) fn drop_privilege<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    inode: &mut Inode,
    caller: &Caller,
) -> Result<(), Fatal> {
    let left = without_privilege(inode.mode);
    inode.mode = left;
    let is_stranger = left & mode::SET_GID != 0 && !caller.is_root() && !caller.in_group(inode.gid);
    // The level is looked up for the few files of which it matters.
    if is_stranger && tables.settings()?.level >= STRANGERS_LEVEL {
        inode.mode &= !mode::SET_GID;
    }
    Ok(())
}

/// Mode bits without set-user-id, and without set-group-id where it means execution.
fn without_privilege(bits: u32) -> u32 {
    let mut left = bits & !mode::SET_UID;
    if left & mode::GROUP_EXECUTE != 0 {
        left &= !mode::SET_GID;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_fits_decides() {
        let file = Guard {
            mode: 0o074,
            uid: 1,
            gid: 2,
            has_acl: false,
        };
        let check = |caller: &Caller, wanted| file.check(None, caller, wanted);
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
        assert_eq!(check(&owner, READ), Err(Refusal::AccessDenied));
        assert_eq!(check(&member, READ | WRITE | EXECUTE), Ok(()));
        assert_eq!(check(&other, READ), Ok(()));
        assert_eq!(check(&other, WRITE), Err(Refusal::AccessDenied));
        assert_eq!(check(&Caller::root(), WRITE), Ok(()));
    }

    #[test]
    fn privilege_bits_go_only_where_they_mean_execution() {
        assert_eq!(without_privilege(0o6755), 0o0755);
        assert_eq!(without_privilege(0o6744), 0o2744);
    }
}
