//! Rules of ACLs: a file says which it has, and its mode agrees with them.

use super::{Found, Rows};
use crate::acl::{Acl, AclKind};
use crate::attr::FileKind;
use crate::ids::Ino;

pub(super) fn check(rows: &Rows, found: &mut Found) {
    let hidden = rows.hidden();
    for ((ino, name), value) in &rows.acls {
        if hidden.contains(ino) {
            continue;
        }
        let Some(kind) = AclKind::of(name) else {
            continue;
        };
        match Acl::parse(value) {
            Ok(Some(acl)) => check_one(rows, *ino, kind, &acl, found),
            Ok(None) | Err(_) => found.0.push(format!("an ACL of {ino} makes no sense")),
        }
    }
    for (ino, inode) in &rows.inodes {
        // What is about to be deleted loses its attributes before its inode.
        if inode.nlink == 0 || hidden.contains(ino) {
            continue;
        }
        for kind in [AclKind::Access, AclKind::Default] {
            let says = kind.is_on(&inode.attr(*ino));
            let has = rows.acls.contains_key(&(*ino, kind.name().to_vec()));
            found.unless(says == has, || {
                format!("{ino} says of its {kind:?} ACL: {says}; it is there: {has}")
            });
        }
    }
}

fn check_one(rows: &Rows, ino: Ino, kind: AclKind, acl: &Acl, found: &mut Found) {
    let Some(inode) = rows.inodes.get(&ino) else {
        // Other rules say so.
        return;
    };
    let placed = match kind {
        AclKind::Access => inode.kind != FileKind::Symlink,
        AclKind::Default => inode.is_directory(),
    };
    found.unless(placed, || {
        format!("a file of kind {:?}, {ino}, has a {kind:?} ACL", inode.kind)
    });
    if kind == AclKind::Access {
        found.unless(!acl.is_minimal(), || {
            format!("the ACL of {ino} says no more than its mode")
        });
        found.unless(acl.mode() == inode.mode & 0o777, || {
            format!(
                "the ACL of {ino} gives mode {:o}, its inode {:o}",
                acl.mode(),
                inode.mode
            )
        });
    }
}
