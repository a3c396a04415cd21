//! Changes of attributes, the length among them. The rules are those of Linux's
//! `setattr_prepare`, which POSIX leaves room for.

use super::{Done, acl, maintain, trash, xattr};
use crate::access::{self, WRITE};
use crate::attr::{Caller, FileKind, Timestamp, mode};
use crate::command::{SetAttr, SetTime};
use crate::ids::{ChunkIndex, Ino, SliceOrder};
use crate::key;
use crate::kv::KvRead;
use crate::limits::{CHUNK_BYTES, CUTS_MAX, FILE_BYTES_MAX, MAINTENANCE_ROWS_MAX};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Cut, Inode};
use crate::tables::Tables;
use crate::txn::Txn;

/// Changes attributes.
pub(super) fn set_attr<B: KvRead>(txn: &mut Txn<'_, B>, caller: &Caller, change: &SetAttr) -> Done {
    let before = txn.tables().inode(change.ino)?;
    check(&txn.tables(), &before, caller, change)?;
    let mut change = change.clone();
    if change.grow_only && change.length.is_some_and(|length| length <= before.length) {
        change.length = None;
    }
    let change = &change;
    let mut inode = before.clone();
    let owner_changes = change.uid.is_some() || change.gid.is_some();
    if change.length.is_some() || (owner_changes && !inode.is_directory()) {
        xattr::drop_capability(txn, change.ino)?;
    }
    if let Some(length) = change.length {
        set_length(txn, change.ino, &mut inode, length)?;
        if !caller.is_root() {
            access::drop_privilege(&txn.tables(), &mut inode, caller)?;
        }
    }
    if set_owner(&mut inode, change) {
        // Whether who asks is in the group is asked of the one that the file had.
        let mut old = Inode {
            gid: before.gid,
            ..inode.clone()
        };
        access::drop_privilege(&txn.tables(), &mut old, caller)?;
        inode.mode = old.mode;
    }
    set_mode(&mut inode, caller, change);
    if change.drop_privilege_bits {
        access::drop_privilege(&txn.tables(), &mut inode, caller)?;
    }
    acl::follow_mode(txn, change.ino, &before, &inode)?;
    let stamp = txn.stamp();
    let time = |time: SetTime| match time {
        SetTime::Now => stamp,
        SetTime::At(at) => at,
    };
    inode.atime = change.atime.map_or(inode.atime, time);
    inode.mtime = change.mtime.map_or(inode.mtime, time);
    if *change
        != (SetAttr {
            ino: change.ino,
            by_handle: change.by_handle,
            grow_only: change.grow_only,
            ..SetAttr::default()
        })
    {
        inode.ctime = stamp;
    }
    if inode != before {
        txn.put_inode(change.ino, &inode);
    }
    Ok(Success::Attr(inode.attr(change.ino)))
}

fn check<K: KvRead>(
    tables: &Tables<'_, K>,
    inode: &Inode,
    caller: &Caller,
    change: &SetAttr,
) -> Result<(), Stop> {
    check_owner(inode, caller, change)?;
    if change.mode.is_some() && !access::owns(inode, caller) {
        return Err(Refusal::NotPermitted.into());
    }
    check_times(tables, inode, caller, change)?;
    if change.drop_privilege_bits && !change.by_handle && !access::owns(inode, caller) {
        access::check(tables, (change.ino, inode), caller, WRITE)?;
    }
    if let Some(length) = change.length {
        check_sized(inode.kind)?;
        if !change.by_handle {
            access::check(tables, (change.ino, inode), caller, WRITE)?;
        }
        if length > FILE_BYTES_MAX {
            return Err(Refusal::FileTooLarge.into());
        }
    }
    Ok(())
}

fn check_owner(inode: &Inode, caller: &Caller, change: &SetAttr) -> Result<(), Refusal> {
    if caller.is_root() {
        return Ok(());
    }
    let owner = caller.uid == inode.uid;
    if change.uid.is_some_and(|uid| !owner || uid != inode.uid) {
        return Err(Refusal::NotPermitted);
    }
    let group_allowed = |gid: u32| owner && (gid == inode.gid || caller.in_group(gid));
    if change.gid.is_some_and(|gid| !group_allowed(gid)) {
        return Err(Refusal::NotPermitted);
    }
    Ok(())
}

fn check_times<K: KvRead>(
    tables: &Tables<'_, K>,
    inode: &Inode,
    caller: &Caller,
    change: &SetAttr,
) -> Result<(), Stop> {
    let times: Vec<SetTime> = change.atime.into_iter().chain(change.mtime).collect();
    let valid = |time: &SetTime| match time {
        SetTime::Now => true,
        SetTime::At(at) => at.is_valid(),
    };
    if !times.iter().all(valid) {
        return Err(Refusal::InvalidArgument.into());
    }
    if times.is_empty() || access::owns(inode, caller) {
        return Ok(());
    }
    // Linux lets those who may write touch a file: both times, to now.
    if times == [SetTime::Now, SetTime::Now] {
        return access::check(tables, (change.ino, inode), caller, WRITE);
    }
    Err(Refusal::NotPermitted.into())
}

/// Whether files of a kind have a length that is set.
fn check_sized(kind: FileKind) -> Result<(), Refusal> {
    match kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Refusal::IsDirectory),
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Err(Refusal::InvalidArgument),
    }
}

/// Owner and group. Says whether that takes set-id bits away, as a change of either does from anything but
/// a directory.
fn set_owner(inode: &mut Inode, change: &SetAttr) -> bool {
    if change.uid.is_none() && change.gid.is_none() {
        return false;
    }
    inode.uid = change.uid.unwrap_or(inode.uid);
    inode.gid = change.gid.unwrap_or(inode.gid);
    !inode.is_directory()
}

fn set_mode(inode: &mut Inode, caller: &Caller, change: &SetAttr) {
    if let Some(bits) = change.mode {
        inode.mode = bits & mode::MASK;
        if !caller.is_root() && !caller.in_group(inode.gid) {
            inode.mode &= !mode::SET_GID;
        }
    }
}

/// Sets the length of a regular file, and its times.
fn set_length<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &mut Inode,
    length: u64,
) -> Result<(), Stop> {
    if length < inode.length {
        cut(txn, ino, inode, length)?;
    }
    resize(txn, ino, inode, length)?;
    inode.mtime = txn.stamp();
    inode.ctime = txn.stamp();
    Ok(())
}

/// Notes that all slices so far end at `length`. Earlier truncations to as much or more say
/// nothing beside this one, so that what stays rises in order and in length.
fn cut<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &mut Inode,
    length: u64,
) -> Result<(), Stop> {
    let order = take_order(inode)?;
    let earlier = txn.tables().cuts(ino)?;
    // What lies before the place that trimming has come to is done for all truncations so far;
    // this one changes nothing before its own chunk.
    let begin = (chunk_of(length)?, SliceOrder(0));
    let (chunk, done) = earlier
        .last()
        .map_or(begin, |(_, _, last)| begin.min((last.chunk, last.order)));
    let mut kept = 0;
    for (key, _, cut) in earlier {
        if cut.length >= length {
            txn.delete(key);
        } else {
            kept += 1;
        }
    }
    let row = Cut {
        length,
        chunk,
        order: done,
    };
    txn.put(key::cut(txn.volume(), ino, order), &row);
    if kept >= CUTS_MAX {
        // Who truncates faster than the leader trims, trims: the more the more of them wait, so that
        // their count stays in proportion to the slices of the chunk that each begins with.
        let rows = MAINTENANCE_ROWS_MAX as usize * (kept / CUTS_MAX);
        maintain::trim_rows(txn, ino, rows)?;
    }
    Ok(())
}

/// The chunk that holds the byte at `offset`.
pub(super) fn chunk_of(offset: u64) -> Result<ChunkIndex, Fatal> {
    u32::try_from(offset / CHUNK_BYTES)
        .map(ChunkIndex)
        .map_err(|_| Fatal::Invariant("an offset past the end of the longest file"))
}

/// The next place in the order of writes to a file.
pub(super) fn take_order(inode: &mut Inode) -> Result<SliceOrder, Fatal> {
    let order = inode.next;
    inode.next = order
        .checked_add(1)
        .ok_or(Fatal::Exhausted("slice orders"))?;
    Ok(SliceOrder(order))
}

/// Sets the length, and counts the bytes.
pub(super) fn resize<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    inode: &mut Inode,
    length: u64,
) -> Result<(), Stop> {
    let from = inode.length;
    // It refuses what cannot be counted, of which the trash has no more than the volume.
    recount(txn, inode, length)?;
    if inode.nlink == 0 {
        // Who has it open may go on writing to what is in the trash.
        trash::resized(txn, ino, from, length)?;
    }
    Ok(())
}

/// Sets the length, and counts the volume's bytes. Sparse files may be long and many: what cannot
/// be counted any more is refused as if the volume were full.
pub(super) fn recount<B: KvRead>(
    txn: &mut Txn<'_, B>,
    inode: &mut Inode,
    length: u64,
) -> Result<(), Stop> {
    let counters = txn.counters();
    let others = counters
        .bytes
        .checked_sub(counted(inode.length))
        .ok_or(Fatal::Invariant(
            "the volume's bytes are not the sum of its files",
        ))?;
    counters.bytes = others
        .checked_add(counted(length))
        .ok_or(Refusal::NoSpace)?;
    inode.length = length;
    Ok(())
}

/// What a file counts for in the volume's bytes: its length in whole 4 KiB.
pub(super) fn counted(length: u64) -> u64 {
    length.next_multiple_of(4096)
}

/// The time that a write leaves, if the client's is one.
pub(super) fn valid_time(time: Option<Timestamp>, stamp: Timestamp) -> Result<Timestamp, Refusal> {
    match time {
        None => Ok(stamp),
        Some(time) if time.is_valid() => Ok(time),
        Some(_) => Err(Refusal::InvalidArgument),
    }
}
