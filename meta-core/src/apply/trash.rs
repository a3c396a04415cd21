//! Files that were removed and are kept for a while.
//!
//! A file in the trash has no names, as one on its way out: what differs is that nothing deletes it
//! until a command, which the leader proposes by its clock, moves it among those.

use super::maintain::step;
use super::{Done, create, names, setattr};
use crate::access;
use crate::attr::{Caller, FileKind, Timestamp};
use crate::ids::{Ino, Level};
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::{TRASH_ENTRIES_MAX, TRASH_SECONDS_MAX};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Blob, Dentry, Inode, Options, TrashTotals, Trashed};
use crate::tables::last_id;
use crate::txn::Txn;

/// The level from which there is a trash.
pub(crate) const LEVEL: Level = Level(3);

/// What becomes of files that lose their last name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// They are deleted as soon as nobody holds them.
    Dies,
    /// They are kept, as removed by this user.
    IsKept { by: u32 },
}

impl Last {
    /// As the volume is told, for what `caller` removes.
    pub(super) fn of<B: KvRead>(txn: &Txn<'_, B>, caller: &Caller) -> Result<Self, Fatal> {
        let tables = txn.tables();
        let kept = tables.settings()?.level >= LEVEL && tables.options()?.trash_seconds > 0;
        Ok(if kept {
            Self::IsKept { by: caller.uid }
        } else {
            Self::Dies
        })
    }
}

/// The row of what this command removes.
pub(super) fn row<B: KvRead>(
    txn: &Txn<'_, B>,
    kind: FileKind,
    (parent, name): (Ino, &Name),
    by: u32,
) -> Trashed {
    Trashed {
        kind,
        removed: txn.stamp(),
        uid: by,
        parent,
        name: name.clone(),
    }
}

/// The keys of the rows that a file in the trash has: by file, by time, by name.
pub(super) fn keys<B: KvRead>(txn: &Txn<'_, B>, ino: Ino, row: &Trashed) -> [Vec<u8>; 3] {
    let volume = txn.volume();
    [
        key::trashed(volume, ino),
        key::trash_by_time(volume, row.removed, ino),
        key::trash_by_name(volume, row.parent, &row.name, row.removed, ino),
    ]
}

/// Puts a file that has lost its last name into the trash.
pub(super) fn enter<B: KvRead>(
    txn: &mut Txn<'_, B>,
    (ino, inode): (Ino, &Inode),
    place: (Ino, &Name),
    by: u32,
) -> Result<(), Fatal> {
    let row = row(txn, inode.kind, place, by);
    let [own, by_time, by_name] = keys(txn, ino, &row);
    txn.put(own, &row);
    txn.mark(by_time);
    txn.mark(by_name);
    count(txn, |totals| {
        totals.inodes = totals.inodes.checked_add(1)?;
        totals.bytes = totals.bytes.checked_add(bytes(inode))?;
        Some(())
    })
}

/// Takes a file out of the trash; what becomes of it is the caller's to say.
fn leave<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &Inode,
    row: &Trashed,
) -> Result<(), Fatal> {
    for key in keys(txn, ino, row) {
        txn.delete(key);
    }
    let now = txn.stamp();
    count(txn, |totals| {
        totals.inodes = totals.inodes.checked_sub(1)?;
        totals.bytes = totals.bytes.checked_sub(bytes(inode))?;
        if totals.inodes == 0 {
            // Nobody looks through the rows that went. What comes is removed later than now.
            totals.begin = now;
        }
        Some(())
    })
}

/// A file without names gets another length.
pub(super) fn resized<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    from: u64,
    to: u64,
) -> Result<(), Fatal> {
    if txn.tables().trashed(ino)?.is_none() {
        return Ok(());
    }
    count(txn, |totals| {
        let others = totals.bytes.checked_sub(setattr::counted(from))?;
        totals.bytes = others.checked_add(setattr::counted(to))?;
        Some(())
    })
}

/// What a file counts for in the bytes of the trash.
fn bytes(inode: &Inode) -> u64 {
    match inode.kind {
        FileKind::Regular => setattr::counted(inode.length),
        _ => 0,
    }
}

fn count<B: KvRead>(
    txn: &mut Txn<'_, B>,
    change: impl FnOnce(&mut TrashTotals) -> Option<()>,
) -> Result<(), Fatal> {
    let mut totals = txn.tables().trash_totals()?;
    change(&mut totals).ok_or(Fatal::Invariant(
        "the trash's totals are not the sum of its files",
    ))?;
    txn.put(key::trash_totals(txn.volume()), &totals);
    Ok(())
}

/// Moves a file from the trash among those that go as soon as nobody holds them. False if it is not
/// there.
fn give_up<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino) -> Result<bool, Fatal> {
    let Some(row) = txn.tables().trashed(ino)? else {
        return Ok(false);
    };
    let inode = txn
        .tables()
        .row(&key::by_ino(txn.volume(), Table::Inode, ino))?;
    let inode: Inode = inode.ok_or(Fatal::Invariant("no inode has what is in the trash"))?;
    leave(txn, ino, &inode, &row)?;
    names::orphan(txn, ino);
    Ok(true)
}

/// Gives up what was removed before a time, the oldest first, a bounded step at a time.
pub(super) fn purge<B: KvRead>(txn: &mut Txn<'_, B>, before: Timestamp, files_max: u32) -> Done {
    let volume = txn.volume();
    let files_max = usize::try_from(files_max).unwrap_or(TRASH_ENTRIES_MAX);
    let files_max = files_max.clamp(1, TRASH_ENTRIES_MAX);
    let totals = txn.tables().trash_totals()?;
    if totals.inodes == 0 {
        return Ok(step(0, false));
    }
    let begin = key::trash_by_time(volume, totals.begin, Ino(0));
    let end = key::trash_by_time(volume, before, Ino(0));
    let rows: Vec<(Vec<u8>, Blob)> = txn.tables().rows_from(&begin, &end, files_max)?;
    let mut last = None;
    for (key, _) in &rows {
        let ino = Ino(last_id(key)?);
        last = txn.tables().trashed(ino)?.map(|row| row.removed);
        if !give_up(txn, ino)? {
            return Err(Fatal::Invariant("the trash lists a file that it does not have").into());
        }
    }
    if let Some(begin) = last {
        count(txn, |totals| {
            if totals.inodes > 0 {
                totals.begin = begin;
            }
            Some(())
        })?;
    }
    Ok(step(rows.len(), rows.len() == files_max))
}

/// Gives files up before their time.
pub(super) fn empty<B: KvRead>(txn: &mut Txn<'_, B>, caller: &Caller, inos: &[Ino]) -> Done {
    if inos.is_empty() || inos.len() > TRASH_ENTRIES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    let mut rows = 0;
    for ino in inos {
        rows += usize::from(give_up(txn, *ino)?);
    }
    Ok(step(rows, false))
}

/// Gives files of the trash a name in a directory. One that is refused does not hold up the others; the
/// directory changes once.
pub(super) fn restore<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    parent_ino: Ino,
    files: &[(Ino, Name)],
) -> Done {
    if files.is_empty() || files.len() > TRASH_ENTRIES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let mut parent = names::searchable(txn, caller, parent_ino)?;
    names::check_addition(txn, (parent_ino, &parent), caller)?;
    let before = parent.length;
    let mut ends = Vec::with_capacity(files.len());
    for (ino, name) in files {
        let directory = (parent_ino, &mut parent);
        ends.push(match put_back(txn, caller, directory, *ino, name) {
            Ok(()) => None,
            Err(Stop::Refused(refusal)) => Some(refusal),
            Err(Stop::Fatal(fatal)) => return Err(fatal.into()),
        });
    }
    if parent.length != before {
        names::touch(txn, &mut parent);
        txn.put_inode(parent_ino, &parent);
    }
    Ok(Success::Restored(ends))
}

/// A refusal leaves all as it was.
fn put_back<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    (parent_ino, parent): (Ino, &mut Inode),
    ino: Ino,
    name: &Name,
) -> Result<(), Stop> {
    let row = txn.tables().trashed(ino)?.ok_or(Refusal::NotFound)?;
    let mut inode = txn.tables().inode(ino)?;
    if !access::owns(&inode, caller) {
        return Err(Refusal::NotPermitted.into());
    }
    if txn.tables().dentry(parent_ino, name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    if inode.is_directory() {
        create::add_subdirectory(parent)?;
    }
    let number = names::take_number(parent)?;
    leave(txn, ino, &inode, &row)?;
    let dentry = Dentry {
        ino,
        kind: inode.kind,
        number,
    };
    names::put_name(txn, parent_ino, name, dentry);
    // A directory was empty when it was removed.
    inode.nlink = if inode.is_directory() { 2 } else { 1 };
    inode.parent = parent_ino;
    inode.parent_number = number;
    inode.ctime = txn.stamp();
    txn.put_inode(ino, &inode);
    parent.length += 1;
    Ok(())
}

/// Tells a volume what to do.
pub(super) fn set_options<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    trash_seconds: u64,
) -> Done {
    if txn.tables().settings()?.level < LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    if trash_seconds > TRASH_SECONDS_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let options = Options { trash_seconds };
    txn.put(key::single(txn.volume(), Table::Options), &options);
    Ok(Success::Done)
}
