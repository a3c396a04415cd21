//! What changes in the source of a clone is noted at the end of the command that changes it.

use super::{COPIED, SHORT, change, copy_of, jobs};
use crate::ids::Ino;
use crate::key::{self, CLONE_DIRTY, Ids, Key, Table};
use crate::kv::KvRead;
use crate::limits::{CLONE_CHANGES_MAX, CLONE_RESTARTS_MAX};
use crate::outcome::{Fatal, Refusal};
use crate::row::{Blob, CloneJob, CloneState, Inode};
use crate::txn::{InodeChange, Txn};
use std::collections::BTreeMap;

/// Notes for each clone which rows of its source a command has written.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub(crate) fn note<B: KvRead>(txn: &mut Txn<'_, B>) -> Result<(), Fatal> {
    // Most volumes have none, and pay nothing.
    if txn.counters().clones == 0 {
        return Ok(());
    }
    let written = txn.written(&COPIED);
    let mut rows = Vec::with_capacity(written.len());
    for whole in &written {
        let (_, table, ids) = key::split(whole).ok_or(SHORT)?;
        let mut ids = Ids(ids);
        let ino = Ino(ids.u64().ok_or(SHORT)?);
        rows.push((ino, table, ids.0));
    }
    for (id, mut job) in jobs(txn.tables())? {
        if job.state != CloneState::Copying {
            continue;
        }
        let before = job.clone();
        note_rows(txn, id, &mut job, &rows)?;
        let limit = job
            .mapped
            .saturating_mul(4)
            .saturating_add(CLONE_CHANGES_MAX);
        if job.dirtied > limit {
            change(txn, &mut job, CloneState::Failed(Refusal::Busy))?;
        } else if has_moved(txn, id, &job)? {
            begin_again(txn, &mut job)?;
        }
        if job != before {
            txn.put(key::clone_job(txn.volume(), id), &job);
        }
    }
    Ok(())
}

fn note_rows<B: KvRead>(
    txn: &mut Txn<'_, B>,
    id: Ino,
    job: &mut CloneJob,
    rows: &[(Ino, u8, &[u8])],
) -> Result<(), Fatal> {
    let mut known: BTreeMap<Ino, bool> = BTreeMap::new();
    for (ino, table, ids) in rows {
        let is_copied = match known.get(ino) {
            Some(is_copied) => *is_copied,
            None => copy_of(txn, id, *ino)?.is_some(),
        };
        known.insert(*ino, is_copied);
        if !is_copied {
            continue;
        }
        let note = dirty(txn, id, *ino, *table, ids);
        let noted: Option<Blob> = txn.tables().row(&note)?;
        if noted.is_none() {
            txn.mark(note);
            job.dirtied = job.dirtied.saturating_add(1);
        }
    }
    Ok(())
}

/// The key that says that a row is to be copied again.
pub(super) fn dirty<B: KvRead>(
    txn: &Txn<'_, B>,
    id: Ino,
    ino: Ino,
    table: u8,
    ids: &[u8],
) -> Vec<u8> {
    Key::new(txn.volume(), Table::Clone)
        .u8(CLONE_DIRTY)
        .u64(id.0)
        .u64(ino.0)
        .u8(table)
        .bytes(ids)
        .done()
}

/// Whether a directory that has a copy got another place.
fn has_moved<B: KvRead>(txn: &Txn<'_, B>, id: Ino, job: &CloneJob) -> Result<bool, Fatal> {
    for change in txn.inode_changes()? {
        if change.ino != job.source && is_move(&change) && copy_of(txn, id, change.ino)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_move(change: &InodeChange) -> bool {
    let place = |inode: &Inode| (inode.nlink > 0).then_some((inode.parent, inode.parent_number));
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let (was, is) = (place(before), place(after));
            before.is_directory() && is.is_some() && was != is
        }
        _ => false,
    }
}

fn begin_again<B: KvRead>(txn: &mut Txn<'_, B>, job: &mut CloneJob) -> Result<(), Fatal> {
    if job.restarts >= CLONE_RESTARTS_MAX {
        return change(txn, job, CloneState::Failed(Refusal::Busy));
    }
    job.restarts += 1;
    change(txn, job, CloneState::Again)
}
