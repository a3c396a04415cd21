//! Uploaded slices become part of files.

use super::{Done, compact, session, setattr, xattr};
use crate::access;
use crate::attr::{Caller, FileKind};
use crate::command::{Append, AppendSlice, Commit, NewSlice};
use crate::ids::{Ino, SessionId, SliceOrder};
use crate::key;
use crate::kv::KvRead;
use crate::limits::{CHUNK_BYTES, COMMIT_SLICES_MAX, FILE_BYTES_MAX, FRAME_BYTES};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Inode, SliceRow};
use crate::txn::Txn;

/// Places slices where they say.
pub(super) fn commit<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    caller: &Caller,
    commit: &Commit,
) -> Done {
    let mut inode = writable(txn, commit.ino, commit.slices.len())?;
    let mtime = setattr::valid_time(commit.mtime, txn.stamp())?;
    let mut length = inode.length;
    for slice in &commit.slices {
        length = length.max(checked_end(slice)?);
    }
    for slice in &commit.slices {
        session::take_granted(txn, session, slice.id)?;
        let order = setattr::take_order(&mut inode)?;
        let row = SliceRow {
            id: slice.id,
            size: slice.len,
            off: 0,
            len: slice.len,
            at: slice.at,
            frame_crcs: slice.frame_crcs.clone(),
        };
        txn.put(
            key::slice(txn.volume(), commit.ino, slice.chunk, order),
            &row,
        );
        compact::note_slice(txn, commit.ino, slice.chunk, order)?;
    }
    setattr::resize(txn, commit.ino, &mut inode, length)?;
    inode.mtime = mtime;
    written(txn, caller, commit.ino, &mut inode)?;
    Ok(Success::Attr(inode.attr(commit.ino)))
}

/// Places slices at the end, wherever it is now.
pub(super) fn append<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    caller: &Caller,
    append: &Append,
) -> Done {
    let mut inode = writable(txn, append.ino, append.slices.len())?;
    let offset = inode.length;
    let mut end = offset;
    for slice in &append.slices {
        check_slice(slice.len, &slice.frame_crcs)?;
        session::take_granted(txn, session, slice.id)?;
        let order = setattr::take_order(&mut inode)?;
        end = place(txn, append.ino, slice, order, end)?;
    }
    setattr::resize(txn, append.ino, &mut inode, end)?;
    inode.mtime = txn.stamp();
    written(txn, caller, append.ino, &mut inode)?;
    Ok(Success::Appended {
        offset,
        attr: inode.attr(append.ino),
    })
}

fn writable<B: KvRead>(txn: &Txn<'_, B>, ino: Ino, slices: usize) -> Result<Inode, Stop> {
    let inode = txn.tables().inode(ino)?;
    match inode.kind {
        FileKind::Regular if (1..=COMMIT_SLICES_MAX).contains(&slices) => Ok(inode),
        FileKind::Directory => Err(Refusal::IsDirectory.into()),
        _ => Err(Refusal::InvalidArgument.into()),
    }
}

fn check_slice(len: u32, frame_crcs: &[u32]) -> Result<(), Refusal> {
    let frames = u32::try_from(frame_crcs.len()).unwrap_or(u32::MAX);
    let sized = len >= 1 && u64::from(len) <= CHUNK_BYTES;
    if sized && len.div_ceil(FRAME_BYTES) == frames {
        Ok(())
    } else {
        Err(Refusal::InvalidArgument)
    }
}

/// Where in the file a slice ends.
pub(super) fn checked_end(slice: &NewSlice) -> Result<u64, Refusal> {
    check_slice(slice.len, &slice.frame_crcs)?;
    let end = u64::from(slice.at) + u64::from(slice.len);
    if end > CHUNK_BYTES {
        return Err(Refusal::InvalidArgument);
    }
    let end = u64::from(slice.chunk.0) * CHUNK_BYTES + end;
    if end > FILE_BYTES_MAX {
        Err(Refusal::FileTooLarge)
    } else {
        Ok(end)
    }
}

/// Writes an appended slice's rows: two if it lies across the border of two chunks. Gives back
/// where it ends.
fn place<B: KvRead>(
    txn: &mut Txn<'_, B>,
    ino: Ino,
    slice: &AppendSlice,
    order: SliceOrder,
    offset: u64,
) -> Result<u64, Stop> {
    let end = offset + u64::from(slice.len);
    if end > FILE_BYTES_MAX {
        return Err(Refusal::FileTooLarge.into());
    }
    let mut off = 0;
    while off < slice.len {
        let at = offset + u64::from(off);
        let within = u32::try_from(at % CHUNK_BYTES)
            .map_err(|_| Fatal::Invariant("a chunk is larger than 4 GiB"))?;
        let room = CHUNK_BYTES - u64::from(within);
        let len = u32::try_from(room.min(u64::from(slice.len - off)))
            .map_err(|_| Fatal::Invariant("a chunk is larger than 4 GiB"))?;
        let row = SliceRow {
            id: slice.id,
            size: slice.len,
            off,
            len,
            at: within,
            frame_crcs: slice.frame_crcs.clone(),
        };
        let chunk = setattr::chunk_of(at)?;
        txn.put(key::slice(txn.volume(), ino, chunk, order), &row);
        compact::note_slice(txn, ino, chunk, order)?;
        off += len;
    }
    Ok(end)
}

/// What every write leaves on the inode.
pub(super) fn written<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
    inode: &mut Inode,
) -> Result<(), Fatal> {
    inode.ctime = txn.stamp();
    xattr::drop_capability(txn, ino)?;
    if !caller.is_root() {
        access::drop_privilege(&txn.tables(), inode, caller)?;
    }
    txn.put_inode(ino, inode);
    Ok(())
}
