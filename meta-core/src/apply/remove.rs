//! Names that go.

use super::trash::{self, Last};
use super::{Done, names};
use crate::access::{self, EXECUTE, WRITE};
use crate::attr::Caller;
use crate::ids::Ino;
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::REMOVE_ENTRIES_MAX;
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Removal, Stop, Success};
use crate::row::Inode;
use crate::txn::Txn;

/// What a removal is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Anything but a directory.
    File,
    Directory,
    Either,
}

/// How a name is removed.
#[derive(Clone, Copy)]
struct How {
    wanted: Wanted,
    last: Last,
    /// Whether the caller may change the directory. Found out once for all names: its ACL may be long.
    allowed: Result<(), Refusal>,
}

/// Removes a name of anything but a directory.
pub(super) fn unlink<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent: Ino,
    name: &Name,
) -> Done {
    remove_one(txn, caller, parent, name, Wanted::File)
}

/// Removes an empty directory.
pub(super) fn rmdir<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent: Ino,
    name: &Name,
) -> Done {
    remove_one(txn, caller, parent, name, Wanted::Directory)
}

fn remove_one<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    name: &Name,
    wanted: Wanted,
) -> Done {
    let mut parent = names::searchable(txn, caller, parent_ino)?;
    let how = How {
        wanted,
        last: Last::of(txn, caller)?,
        allowed: may_change(txn, (parent_ino, &parent), caller)?,
    };
    let (ino, nlink) = remove(txn, caller, (parent_ino, &mut parent), name, how)?;
    names::touch(txn, &mut parent);
    txn.put_inode(parent_ino, &parent);
    Ok(Success::Removed { ino, nlink })
}

/// Removes names of one directory. One that is refused does not hold up the others; the directory
/// changes once.
pub(super) fn remove_entries<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    names: &[Name],
    skip_trash: bool,
) -> Done {
    if names.is_empty() || names.len() > REMOVE_ENTRIES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    if skip_trash && !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    let last = match skip_trash {
        true => Last::Dies,
        false => Last::of(txn, caller)?,
    };
    let mut parent = names::searchable(txn, caller, parent_ino)?;
    prefetch(txn, parent_ino, names, last)?;
    let how = How {
        wanted: Wanted::Either,
        last,
        allowed: may_change(txn, (parent_ino, &parent), caller)?,
    };
    let before = parent.length;
    let mut removals = Vec::with_capacity(names.len());
    for name in names {
        let directory = (parent_ino, &mut parent);
        removals.push(match remove(txn, caller, directory, name, how) {
            Ok((_, nlink)) => Removal::Removed { nlink },
            Err(Stop::Refused(refusal)) => Removal::Refused(refusal),
            Err(Stop::Fatal(fatal)) => return Err(fatal.into()),
        });
    }
    if parent.length != before {
        names::touch(txn, &mut parent);
        txn.put_inode(parent_ino, &parent);
    }
    Ok(Success::RemovedEntries(removals))
}

/// Whether the caller may change a directory: refused is only who removes a name that is there.
fn may_change<B: KvRead>(
    txn: &Txn<'_, B>,
    directory: (Ino, &Inode),
    caller: &Caller,
) -> Result<Result<(), Refusal>, Fatal> {
    match access::check(&txn.tables(), directory, caller, WRITE | EXECUTE) {
        Ok(()) => Ok(Ok(())),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    }
}

/// Tells the store all that the removal of many names reads and writes.
fn prefetch<B: KvRead>(
    txn: &Txn<'_, B>,
    parent: Ino,
    names: &[Name],
    last: Last,
) -> Result<(), Fatal> {
    let volume = txn.volume();
    let dentries = names.iter().map(|name| key::dentry(volume, parent, name));
    txn.prefetch(dentries.collect())?;
    let mut keys = Vec::with_capacity(names.len() * 3);
    for name in names {
        if let Some(dentry) = txn.tables().dentry(parent, name)? {
            keys.push(key::number(volume, parent, dentry.number));
            keys.push(key::by_ino(volume, Table::Inode, dentry.ino));
            match last {
                Last::Dies => keys.push(key::by_ino(volume, Table::Orphan, dentry.ino)),
                Last::IsKept { by } => {
                    let row = trash::row(txn, dentry.kind, (parent, name), by);
                    keys.extend(trash::keys(txn, dentry.ino, &row));
                }
            }
        }
    }
    txn.prefetch(keys)
}

/// Removes a name from a directory that may be searched, whose row is written by the caller. Gives the
/// file that had the name, and its names left. A refusal leaves all as it was.
fn remove<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    (parent_ino, parent): (Ino, &mut Inode),
    name: &Name,
    how: How,
) -> Result<(Ino, u32), Stop> {
    let dentry = txn
        .tables()
        .dentry(parent_ino, name)?
        .ok_or(Refusal::NotFound)?;
    let mut inode = txn.tables().inode_of(&dentry)?;
    how.allowed?;
    access::check_sticky(parent, &inode, caller)?;
    check_kind(&inode, how.wanted)?;
    names::delete_name(txn, parent_ino, name);
    names::delete_number(txn, parent_ino, dentry.number);
    if inode.is_directory() {
        names::lose_subdirectory(parent)?;
    } else {
        names::detach(txn, dentry.ino, &mut inode, parent_ino, dentry.number)?;
    }
    let place = (parent_ino, name);
    names::drop_link(txn, (dentry.ino, &mut inode), place, how.last)?;
    txn.put_inode(dentry.ino, &inode);
    names::lose_entry(parent)?;
    Ok((dentry.ino, inode.nlink))
}

fn check_kind(inode: &Inode, wanted: Wanted) -> Result<(), Refusal> {
    match (inode.is_directory(), wanted) {
        (true, Wanted::File) => Err(Refusal::IsDirectory),
        (false, Wanted::Directory) => Err(Refusal::NotDirectory),
        (true, _) if inode.length != 0 => Err(Refusal::NotEmpty),
        _ => Ok(()),
    }
}
