//! What is left of a clone that was attached, came to nothing, or begins again, goes in steps.

use super::super::maintain::step as stepped;
use super::super::names;
use super::{Copying, change, check_source, count};
use super::{Done, create};
use crate::ids::{DentryNumber, Ino};
use crate::key::{self, CLONE_COPY, CLONE_DIRTY, CLONE_SCAN, CLONE_SOURCE, Table};
use crate::kv::{Family, KvRead};
use crate::limits::MAINTENANCE_ROWS_MAX;
use crate::outcome::{Fatal, Stop};
use crate::row::{CloneJob, CloneState, Inode, Named};
use crate::tables::last_id;
use crate::txn::Txn;
use std::ops::ControlFlow;

/// Deletes the clone's rows and, unless it was attached, what was copied.
pub(super) fn clear<B: KvRead>(
    txn: &mut Txn<'_, B>,
    id: Ino,
    job: &mut CloneJob,
    rows_max: u32,
) -> Done {
    let rows_max = rows_max.clamp(1, MAINTENANCE_ROWS_MAX) as usize;
    let mut left = rows_max;
    if job.state != CloneState::Attached {
        left -= drop_tree(txn, job.root, left)?;
    }
    for kind in [CLONE_COPY, CLONE_SCAN, CLONE_DIRTY, CLONE_SOURCE] {
        let prefix = key::of_clone(txn.volume(), kind, id);
        left -= delete_rows(txn, &prefix, left)?;
    }
    let rows = rows_max - left;
    if left == 0 {
        return Ok(stepped(rows, true));
    }
    if job.state != CloneState::Again {
        let before = job.hides();
        job.cleared = true;
        count(txn, before, false)?;
        return Ok(stepped(rows, false));
    }
    check_source(txn, job)?;
    let since = job.since;
    change(txn, job, CloneState::Copying)?;
    // Times of copies are those of the begin.
    job.since = since;
    (job.mapped, job.dirtied) = (0, 0);
    let root = create::take_ino(txn)?;
    Copying::new(txn, id, job, 1).plant(root)?;
    Ok(stepped(rows, true))
}

fn delete_rows<B: KvRead>(
    txn: &mut Txn<'_, B>,
    prefix: &[u8],
    count_max: usize,
) -> Result<usize, Fatal> {
    let mut keys = Vec::new();
    if count_max == 0 {
        return Ok(0);
    }
    txn.tables()
        .scan(Family::State, prefix, &key::prefix_end(prefix), |key, _| {
            keys.push(key.to_vec());
            Ok(if keys.len() < count_max {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
    let count = keys.len();
    keys.into_iter().for_each(|key| txn.delete(key));
    Ok(count)
}

/// Names of a hidden directory that are read at a time.
const NAMES_MAX: usize = 64;

/// Takes names out of a hidden tree, the lowest first, and at last its top. What has lost its names is
/// deleted as any other file is. Tells how many went.
fn drop_tree<B: KvRead>(txn: &mut Txn<'_, B>, root: Ino, count_max: usize) -> Result<usize, Stop> {
    let root_key = key::by_ino(txn.volume(), Table::Inode, root);
    let top: Option<Inode> = txn.tables().row(&root_key)?;
    let is_there = top.is_some_and(|top| top.nlink > 0);
    let mut inside = if is_there { vec![root] } else { Vec::new() };
    let mut count = 0;
    while let Some(at) = inside.last().copied() {
        let names = some_names(txn, at)?;
        let is_empty = names.is_empty();
        for (number, named) in names {
            if count >= count_max {
                return Ok(count);
            }
            if drop_name(txn, at, number, &named)? == Dropped::NotEmpty {
                inside.push(named.ino);
                break;
            }
            count += 1;
        }
        if is_empty {
            inside.pop();
        }
    }
    if is_there && count < count_max {
        let mut top = txn.tables().inode(root)?;
        top.nlink = 0;
        top.ctime = txn.stamp();
        txn.put_inode(root, &top);
        names::orphan(txn, root);
        count += 1;
    }
    Ok(count)
}

/// The first names of a directory; none of another file.
fn some_names<B: KvRead>(txn: &Txn<'_, B>, ino: Ino) -> Result<Vec<(DentryNumber, Named)>, Fatal> {
    let prefix = key::by_ino(txn.volume(), Table::DentryNumber, ino);
    let rows: Vec<(Vec<u8>, Named)> = txn.tables().rows(&prefix, NAMES_MAX)?;
    rows.into_iter()
        .map(|(key, named)| Ok((DentryNumber(last_id(&key)?), named)))
        .collect()
}

/// Takes one name out of a hidden directory: that of an empty directory, or of another file.
pub(super) fn drop_name<B: KvRead>(
    txn: &mut Txn<'_, B>,
    parent: Ino,
    number: DentryNumber,
    named: &Named,
) -> Result<Dropped, Stop> {
    let mut directory = txn.tables().inode(parent)?;
    let mut inode = txn.tables().inode(named.ino)?;
    if inode.is_directory() {
        if inode.length > 0 {
            return Ok(Dropped::NotEmpty);
        }
        names::lose_subdirectory(&mut directory)?;
        inode.nlink = 0;
    } else {
        names::detach(txn, named.ino, &mut inode, parent, number)?;
        inode.nlink = inode
            .nlink
            .checked_sub(1)
            .ok_or(Fatal::Invariant("a name of a file with none"))?;
    }
    inode.ctime = txn.stamp();
    txn.put_inode(named.ino, &inode);
    if inode.nlink == 0 {
        names::orphan(txn, named.ino);
    }
    names::lose_entry(&mut directory)?;
    txn.put_inode(parent, &directory);
    delete_pair(txn, parent, number, named)?;
    Ok(if inode.nlink == 0 {
        Dropped::Last
    } else {
        Dropped::OneOfMany
    })
}

/// What became of a file that lost a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dropped {
    /// Nothing: it is a directory with something in it.
    NotEmpty,
    /// It has others.
    OneOfMany,
    /// It has none.
    Last,
}

/// Deletes both rows of a name. In a hidden directory another number may have taken the name over already.
pub(super) fn delete_pair<B: KvRead>(
    txn: &mut Txn<'_, B>,
    parent: Ino,
    number: DentryNumber,
    named: &Named,
) -> Result<(), Fatal> {
    let by_name = txn.tables().dentry(parent, &named.name)?;
    if by_name.is_some_and(|dentry| dentry.number == number) {
        names::delete_name(txn, parent, &named.name);
    }
    names::delete_number(txn, parent, number);
    Ok(())
}
