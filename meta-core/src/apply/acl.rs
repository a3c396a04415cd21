//! ACLs of files: set, handed on, and kept in step with the mode.

use super::{Done, xattr};
use crate::access;
use crate::acl::{self, Acl, AclKind};
use crate::attr::{Caller, FileKind, mode};
use crate::ids::Ino;
use crate::key;
use crate::kv::KvRead;
use crate::outcome::{Fatal, Refusal, Success};
use crate::row::{Blob, Inode};
use crate::txn::Txn;

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o777;

/// Sets one of a file's ACLs, or removes it: a value without entries. To remove what is not there
/// succeeds, as on Linux.
pub(super) fn set<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
    kind: AclKind,
    value: &[u8],
) -> Done {
    if txn.tables().settings()?.level < acl::LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    let acl = Acl::parse(value)?;
    let mut inode = txn.tables().inode(ino)?;
    if inode.kind == FileKind::Symlink {
        return Err(Refusal::NotSupported.into());
    }
    if kind == AclKind::Default && !inode.is_directory() {
        return match acl {
            Some(_) => Err(Refusal::AccessDenied.into()),
            None => Ok(Success::Done),
        };
    }
    if !access::owns(&inode, caller) {
        return Err(Refusal::NotPermitted.into());
    }
    if acl.is_none() && !kind.is_on(&inode.attr(ino)) {
        return Ok(Success::Done);
    }
    // One that says no more than the mode takes none.
    let stored = |acl: &&Acl| kind == AclKind::Default || !acl.is_minimal();
    if let Some(acl) = acl.as_ref().filter(stored) {
        xattr::check_room(&txn.tables(), ino, kind.name(), &acl.encode())?;
    }
    match kind {
        AclKind::Access => {
            if let Some(acl) = &acl {
                inode.mode = inode.mode & !PERMISSIONS | acl.mode();
                if !caller.is_root() && !caller.in_group(inode.gid) {
                    inode.mode &= !mode::SET_GID;
                }
            }
            let acl = acl.filter(|acl| !acl.is_minimal());
            inode.access_acl = acl.is_some();
            put(txn, ino, kind, acl.as_ref());
        }
        AclKind::Default => {
            inode.default_acl = acl.is_some();
            put(txn, ino, kind, acl.as_ref());
        }
    }
    inode.ctime = txn.stamp();
    txn.put_inode(ino, &inode);
    Ok(Success::Done)
}

/// Gives a new file what the default ACL of its directory says. The file's mode is what was asked
/// for, and becomes what it gets.
pub(super) fn hand_on<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, inode: &mut Inode, default: &Acl) {
    let access = default.inherited(inode.mode);
    inode.mode = inode.mode & !PERMISSIONS | access.mode();
    if !access.is_minimal() {
        inode.access_acl = true;
        put(txn, ino, AclKind::Access, Some(&access));
    }
    if inode.is_directory() {
        inode.default_acl = true;
        put(txn, ino, AclKind::Default, Some(default));
    }
}

/// Lets a file's access ACL follow a change of its mode.
pub(super) fn follow_mode<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    before: &Inode,
    inode: &Inode,
) -> Result<(), Fatal> {
    let changed = (before.mode ^ inode.mode) & PERMISSIONS != 0;
    if inode.access_acl
        && changed
        && let Some(mut access) = access::stored_acl(&txn.tables(), ino, acl::ACCESS)?
    {
        access.change_mode(inode.mode);
        put(txn, ino, AclKind::Access, Some(&access));
    }
    Ok(())
}

fn put<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, kind: AclKind, acl: Option<&Acl>) {
    let key = key::xattr(txn.volume(), ino, kind.name());
    match acl {
        Some(acl) => txn.put(key, &Blob(acl.encode())),
        None => txn.delete(key),
    }
}
