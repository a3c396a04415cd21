//! Names that go.

use super::{Done, names};
use crate::access;
use crate::attr::Caller;
use crate::ids::Ino;
use crate::kv::KvRead;
use crate::name::Name;
use crate::outcome::{Refusal, Stop, Success};
use crate::row::{Dentry, Inode};
use crate::txn::Txn;

/// Removes a name of anything but a directory.
pub(super) fn unlink<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    name: &Name,
) -> Done {
    let (mut parent, dentry, mut inode) = removable(txn, caller, parent_ino, name)?;
    if inode.is_directory() {
        return Err(Refusal::IsDirectory.into());
    }
    names::delete_name(txn, parent_ino, name);
    names::delete_number(txn, parent_ino, dentry.number);
    names::detach(txn, dentry.ino, &mut inode, parent_ino, dentry.number)?;
    names::drop_link(txn, dentry.ino, &mut inode)?;
    txn.put_inode(dentry.ino, &inode);
    leave(txn, parent_ino, &mut parent)?;
    Ok(Success::Removed {
        ino: dentry.ino,
        nlink: inode.nlink,
    })
}

/// Removes an empty directory.
pub(super) fn rmdir<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    name: &Name,
) -> Done {
    let (mut parent, dentry, mut inode) = removable(txn, caller, parent_ino, name)?;
    if !inode.is_directory() {
        return Err(Refusal::NotDirectory.into());
    }
    if inode.length != 0 {
        return Err(Refusal::NotEmpty.into());
    }
    names::delete_name(txn, parent_ino, name);
    names::delete_number(txn, parent_ino, dentry.number);
    names::drop_link(txn, dentry.ino, &mut inode)?;
    txn.put_inode(dentry.ino, &inode);
    names::lose_subdirectory(&mut parent)?;
    leave(txn, parent_ino, &mut parent)?;
    Ok(Success::Removed {
        ino: dentry.ino,
        nlink: 0,
    })
}

fn removable<B: KvRead>(
    txn: &Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    name: &Name,
) -> Result<(Inode, Dentry, Inode), Stop> {
    let parent = names::searchable(txn, caller, parent_ino)?;
    let dentry = txn
        .tables()
        .dentry(parent_ino, name)?
        .ok_or(Refusal::NotFound)?;
    let inode = txn.tables().inode_of(&dentry)?;
    access::check_removal(&parent, &inode, caller)?;
    Ok((parent, dentry, inode))
}

fn leave<B: KvRead>(txn: &mut Txn<'_, B>, parent_ino: Ino, parent: &mut Inode) -> Result<(), Stop> {
    names::lose_entry(parent)?;
    names::touch(txn, parent);
    txn.put_inode(parent_ino, parent);
    Ok(())
}
