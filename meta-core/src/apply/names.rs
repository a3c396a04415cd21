//! Names come and go in pairs of rows: by name and by number, and a file knows where its names
//! are. Every change of a directory goes through here.

use super::quota;
use super::trash::{self, Last};
use crate::access::{self, EXECUTE, WRITE};
use crate::attr::{Caller, FileKind};
use crate::ids::{DentryNumber, Ino};
use crate::key::{self, Key, Table};
use crate::kv::KvRead;
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::row::{Blob, Dentry, Inode, Named};
use crate::seeded::{Bug, has};
use crate::tables::last_id;
use crate::txn::Txn;

/// A directory that names may be looked up in by the caller and that is still in the tree.
pub(super) fn searchable<B: KvRead>(
    txn: &Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
) -> Result<Inode, Stop> {
    let directory = txn.tables().directory(ino)?;
    access::check(&txn.tables(), (ino, &directory), caller, EXECUTE)?;
    if directory.nlink == 0 {
        Err(Refusal::NotFound.into())
    } else {
        Ok(directory)
    }
}

/// Whether the caller may add a name.
pub(super) fn check_addition<B: KvRead>(
    txn: &Txn<'_, B>,
    directory: (Ino, &Inode),
    caller: &Caller,
) -> Result<(), Stop> {
    access::check(&txn.tables(), directory, caller, WRITE | EXECUTE)
}

/// Gives the next number of a directory away.
pub(super) fn take_number(directory: &mut Inode) -> Result<DentryNumber, Fatal> {
    let number = directory.next;
    directory.next = number
        .checked_add(1)
        .ok_or(Fatal::Exhausted("dentry numbers"))?;
    Ok(DentryNumber(number))
}

/// Writes the two rows of a name.
pub(super) fn put_name<B: KvRead>(txn: &mut Txn<'_, B>, parent: Ino, name: &Name, dentry: Dentry) {
    let volume = txn.volume();
    txn.put(key::dentry(volume, parent, name), &dentry);
    let named = Named {
        ino: dentry.ino,
        kind: dentry.kind,
        name: name.clone(),
    };
    txn.put(key::number(volume, parent, dentry.number), &named);
}

/// Removes the row by name; the row by number stays for whoever takes the number over.
pub(super) fn delete_name<B: KvRead>(txn: &mut Txn<'_, B>, parent: Ino, name: &Name) {
    txn.delete(key::dentry(txn.volume(), parent, name));
}

/// Removes the row by number.
pub(super) fn delete_number<B: KvRead>(txn: &mut Txn<'_, B>, parent: Ino, number: DentryNumber) {
    txn.delete(key::number(txn.volume(), parent, number));
}

/// Tells a file that it has one more name.
pub(super) fn attach<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, parent: Ino, number: DentryNumber) {
    txn.mark(key::link(txn.volume(), ino, parent, number));
}

/// Tells a file that one of its names is gone. If it was the first, another takes its part, if
/// there is one.
pub(super) fn detach<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &mut Inode,
    parent: Ino,
    number: DentryNumber,
) -> Result<(), Fatal> {
    if (inode.parent, inode.parent_number) != (parent, number) {
        txn.delete(key::link(txn.volume(), ino, parent, number));
        return Ok(());
    }
    if inode.nlink == 1 {
        // It is the only one, as every check of a volume makes sure of; a look for others costs more
        // than all the rest.
        return Ok(());
    }
    let prefix = key::by_ino(txn.volume(), Table::Link, ino);
    let other: Vec<(Vec<u8>, Blob)> = txn.tables().rows(&prefix, 1)?;
    if let Some((key, _)) = other.into_iter().next() {
        let (parent, number) = link_ids(&key)?;
        inode.parent = parent;
        inode.parent_number = number;
        txn.delete(key);
    }
    Ok(())
}

/// Moves one of a file's names to another place.
pub(super) fn rehome<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &mut Inode,
    from: (Ino, DentryNumber),
    to: (Ino, DentryNumber),
) -> Result<(), Stop> {
    if inode.nlink > 1 && !inode.is_directory() {
        quota::check_further_name(txn, from.0, to.0)?;
    }
    if (inode.parent, inode.parent_number) == from {
        (inode.parent, inode.parent_number) = to;
    } else {
        txn.delete(key::link(txn.volume(), ino, from.0, from.1));
        txn.mark(key::link(txn.volume(), ino, to.0, to.1));
    }
    Ok(())
}

fn link_ids(key: &[u8]) -> Result<(Ino, DentryNumber), Fatal> {
    let number = DentryNumber(last_id(key)?);
    let parent = key.len().checked_sub(8).and_then(|end| key.get(..end));
    Ok((Ino(last_id(parent.unwrap_or_default())?), number))
}

/// A directory's content changed.
pub(super) fn touch<B: KvRead>(txn: &Txn<'_, B>, directory: &mut Inode) {
    directory.mtime = txn.stamp();
    directory.ctime = txn.stamp();
}

/// A name of a file went: without any left, the file goes into the trash or becomes an orphan.
pub(super) fn drop_link<B: KvRead>(
    txn: &mut Txn<'_, B>,
    (ino, inode): (Ino, &mut Inode),
    place: (Ino, &Name),
    last: Last,
) -> Result<(), Fatal> {
    inode.nlink = match inode.kind {
        FileKind::Directory => 0,
        _ if has(Bug::LinkNotCounted) && inode.nlink > 1 => inode.nlink,
        _ => inode
            .nlink
            .checked_sub(1)
            .ok_or(Fatal::Invariant("a name of a file with none"))?,
    };
    inode.ctime = txn.stamp();
    match last {
        _ if inode.nlink > 0 => {}
        Last::IsKept { by } => trash::enter(txn, (ino, inode), place, by)?,
        Last::Dies => orphan(txn, ino),
    }
    Ok(())
}

/// A file without names is deleted as soon as nobody holds it.
pub(super) fn orphan<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino) {
    txn.mark(Key::new(txn.volume(), Table::Orphan).u64(ino.0).done());
    txn.counters().orphans += 1;
}

/// Counts a directory that left `directory`.
pub(super) fn lose_subdirectory(directory: &mut Inode) -> Result<(), Fatal> {
    directory.nlink = directory
        .nlink
        .checked_sub(1)
        .ok_or(Fatal::Invariant("a subdirectory of a directory with none"))?;
    Ok(())
}

/// Counts a name that left `directory`.
pub(super) fn lose_entry(directory: &mut Inode) -> Result<(), Fatal> {
    directory.length = directory
        .length
        .checked_sub(1)
        .ok_or(Fatal::Invariant("a name in a directory with none"))?;
    Ok(())
}
