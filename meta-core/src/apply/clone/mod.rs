//! Copies of directories: rows are copied in steps into a tree that nothing names, and what changes in the
//! source meanwhile is copied again. The step that finds nothing left to copy may put the tree where it is to
//! be, in the same command: so it equals its source as it is right then, and is never seen half.
//!
//! What is copied is a row at a time. Every command that writes a row of a file with a copy leaves a note of
//! it ([`note()`]), whatever kind of command it is, so that none can be missed. A row of a copy follows from
//! that of its source alone, so that it does not matter how often and in which order rows are copied. Names
//! keep their numbers, slices their places. A directory that is moved within or out of the source could make
//! loops of what is copied: then all begins again.

mod clear;
mod hidden;
mod names;
mod note;
mod rows;

pub(super) use hidden::{check_named, check_seen, check_written};
pub(crate) use note::note;

use super::maintain::step as stepped;
use super::names as directory;
use super::rename::check_outside;
use super::{Done, create};
use crate::attr::Caller;
use crate::command::CloneTree;
use crate::ids::{DentryNumber, Ino, Level};
use crate::key::{self, CLONE_DIRTY, CLONE_SCAN, Table};
use crate::kv::KvRead;
use crate::limits::{
    CLONES_MAX, ENDED_CLONE_SECONDS, ENDED_CLONES_MAX, MAINTENANCE_ROWS_MAX, MIRROR_BYTES_MAX,
};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::read::Cuts;
use crate::row::{Blob, CloneJob, CloneState, Dentry, InoRef, Inode};
use crate::tables::{Tables, last_id};
use crate::txn::Txn;

/// The level from which directories are cloned.
pub(crate) const LEVEL: Level = Level(6);
/// A key of this table without a file.
const SHORT: Fatal = Fatal::Invariant("a key is too short");
/// The directory of what has no name yet, and its number there.
const NOWHERE: (Ino, DentryNumber) = (Ino(0), DentryNumber(0));

/// All clones with their numbers.
pub(crate) fn jobs<K: KvRead + ?Sized>(
    tables: Tables<'_, K>,
) -> Result<Vec<(Ino, CloneJob)>, Fatal> {
    let rows: Vec<(Vec<u8>, CloneJob)> = tables.rows(&key::clones(tables.volume()), usize::MAX)?;
    rows.into_iter()
        .map(|(key, job)| Ok((Ino(last_id(&key)?), job)))
        .collect()
}

/// Begins, and copies the first rows.
pub(super) fn begin<B: KvRead>(txn: &mut Txn<'_, B>, caller: &Caller, asked: &CloneTree) -> Done {
    if txn.tables().settings()?.level < LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    if txn.counters().clones >= CLONES_MAX {
        return Err(Refusal::Busy.into());
    }
    make_room(txn)?;
    let mut job = CloneJob {
        state: CloneState::Copying,
        cleared: false,
        root: Ino(0),
        source: asked.source,
        parent: asked.parent,
        name: asked.name.clone(),
        caller: caller.clone(),
        umask: asked.umask & 0o777,
        preserve: asked.preserve,
        restarts: 0,
        mapped: 0,
        dirtied: 0,
        since: txn.stamp(),
    };
    check_source(txn, &job)?;
    check_target(txn, &job)?;
    let id = create::take_ino(txn)?;
    txn.counters().clones += 1;
    let mut copying = Copying::new(txn, id, &mut job, asked.rows_max);
    copying.plant(id)?;
    copying.run(true)?;
    let done = job.state == CloneState::Attached;
    txn.put(key::clone_job(txn.volume(), id), &job);
    Ok(Success::Cloning { job: id, done })
}

/// Of too many that have ended, the oldest is not told of any more.
fn make_room<B: KvRead>(txn: &mut Txn<'_, B>) -> Result<(), Stop> {
    let jobs = jobs(txn.tables())?;
    if jobs.len() < CLONES_MAX as usize + ENDED_CLONES_MAX {
        return Ok(());
    }
    let ended = jobs.iter().filter(|(_, job)| job.cleared);
    let oldest = ended.min_by_key(|(_, job)| job.since);
    let (id, _) = oldest.ok_or(Refusal::Busy)?;
    txn.delete(key::clone_job(txn.volume(), *id));
    Ok(())
}

/// What is copied must have a name.
fn check_source<B: KvRead>(txn: &Txn<'_, B>, job: &CloneJob) -> Result<Inode, Stop> {
    match txn.tables().inode(job.source) {
        Ok(inode) if inode.nlink > 0 => Ok(inode),
        Ok(_) | Err(Stop::Refused(_)) => Err(Refusal::NotFound.into()),
        Err(fatal) => Err(fatal),
    }
}

/// The name must be free, in a directory that leads up to the root, that the caller may change, and that is not
/// in the source. All there is lies in the root: its copy may lie there too, and holds what was there before.
fn check_target<B: KvRead>(txn: &Txn<'_, B>, job: &CloneJob) -> Result<Inode, Stop> {
    let parent = directory::searchable(txn, &job.caller, job.parent)?;
    if txn.tables().dentry(job.parent, &job.name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    directory::check_addition(txn, (job.parent, &parent), &job.caller)?;
    let outer = match job.source {
        Ino::ROOT => NOWHERE.0,
        source => source,
    };
    check_outside(txn, job.parent, outer)?;
    Ok(parent)
}

/// Gives one up.
pub(super) fn cancel<B: KvRead>(txn: &mut Txn<'_, B>, caller: &Caller, id: Ino) -> Done {
    let row_key = key::clone_job(txn.volume(), id);
    let job: Option<CloneJob> = txn.tables().row(&row_key)?;
    let mut job = job.ok_or(Refusal::NotFound)?;
    if !caller.is_root() && caller.uid != job.caller.uid {
        return Err(Refusal::NotPermitted.into());
    }
    if !matches!(job.state, CloneState::Copying | CloneState::Again) {
        return Err(Refusal::NotFound.into());
    }
    change(txn, &mut job, CloneState::Failed(Refusal::Cancelled))?;
    txn.put(row_key, &job);
    Ok(Success::Done)
}

/// A step was refused: that is how the clone ends.
pub(crate) fn fail<B: KvRead>(txn: &mut Txn<'_, B>, id: Ino, why: Refusal) -> Done {
    let row_key = key::clone_job(txn.volume(), id);
    let job: Option<CloneJob> = txn.tables().row(&row_key)?;
    let Some(mut job) = job else {
        return Ok(stepped(0, false));
    };
    if matches!(job.state, CloneState::Attached | CloneState::Failed(_)) {
        // What is seen stays, whatever becomes of the rest.
        return Err(why.into());
    }
    change(txn, &mut job, CloneState::Failed(why))?;
    txn.put(row_key, &job);
    Ok(stepped(0, true))
}

/// Says how far a clone is now, and counts those that hide what they copy.
fn change<B: KvRead>(
    txn: &mut Txn<'_, B>,
    job: &mut CloneJob,
    state: CloneState,
) -> Result<(), Fatal> {
    let before = job.hides();
    job.state = state;
    job.since = txn.stamp();
    count(txn, before, job.hides())
}

/// One hides what it copies, or does not any more.
fn count<B: KvRead>(txn: &mut Txn<'_, B>, before: bool, after: bool) -> Result<(), Fatal> {
    let clones = &mut txn.counters().clones;
    let others = clones
        .checked_sub(u32::from(before))
        .ok_or(Fatal::Invariant("clones are not counted"))?;
    *clones = others + u32::from(after);
    Ok(())
}

/// Goes on with one.
pub(super) fn step<B: KvRead>(
    txn: &mut Txn<'_, B>,
    (id, rows_max): (Ino, u32),
    copies: bool,
    attach: Option<&(Ino, Name)>,
) -> Done {
    let row_key = key::clone_job(txn.volume(), id);
    let job: Option<CloneJob> = txn.tables().row(&row_key)?;
    let Some(mut job) = job else {
        return Ok(stepped(0, false));
    };
    let done = match job.state {
        CloneState::Copying => {
            if !copies {
                return Ok(stepped(0, true));
            }
            check_source(txn, &job)?;
            // Only where nobody caches anything of it any more.
            let attach =
                attach.is_some_and(|(parent, name)| *parent == job.parent && *name == job.name);
            let mut copying = Copying::new(txn, id, &mut job, rows_max);
            let is_all = copying.run(attach)?;
            stepped(copying.rows, !is_all)
        }
        _ if !job.cleared => clear::clear(txn, id, &mut job, rows_max)?,
        _ => {
            let age = txn.stamp().seconds.saturating_sub(job.since.seconds);
            if age >= ENDED_CLONE_SECONDS {
                txn.delete(row_key);
            }
            return Ok(stepped(0, false));
        }
    };
    txn.put(row_key, &job);
    Ok(done)
}

/// One command's work on a clone.
struct Copying<'t, 'p, B> {
    txn: &'t mut Txn<'p, B>,
    id: Ino,
    job: &'t mut CloneJob,
    rows_max: usize,
    /// Rows that were looked at.
    rows: usize,
    /// Bytes of checksums that were written: a mirror takes the record in one command.
    bytes: usize,
    /// Truncations of the file that was looked at last.
    cuts: Option<(Ino, Cuts)>,
}

impl<'t, 'p, B: KvRead> Copying<'t, 'p, B> {
    fn new(txn: &'t mut Txn<'p, B>, id: Ino, job: &'t mut CloneJob, rows_max: u32) -> Self {
        Self {
            txn,
            id,
            job,
            rows_max: rows_max.clamp(1, MAINTENANCE_ROWS_MAX) as usize,
            rows: 0,
            bytes: 0,
            cuts: None,
        }
    }

    fn room(&self) -> usize {
        if self.bytes >= MIRROR_BYTES_MAX {
            return 0;
        }
        self.rows_max.saturating_sub(self.rows)
    }

    /// Makes the top of the hidden tree, which gets this id.
    fn plant(&mut self, root: Ino) -> Result<(), Stop> {
        self.job.root = root;
        self.map(self.job.source, root, NOWHERE)
    }

    /// Copies as many rows as one command may. Says whether nothing is left to copy; then the tree is where
    /// it was to be, if that was asked for.
    fn run(&mut self, attach: bool) -> Result<bool, Stop> {
        self.changed_rows()?;
        self.scans()?;
        // What waited for others to go may go now.
        self.changed_rows()?;
        if self.is_left(CLONE_DIRTY)? || self.is_left(CLONE_SCAN)? {
            return Ok(false);
        }
        if attach {
            self.attach()?;
        }
        Ok(true)
    }

    fn is_left(&self, kind: u8) -> Result<bool, Fatal> {
        let prefix = key::of_clone(self.txn.volume(), kind, self.id);
        let rows: Vec<(Vec<u8>, Blob)> = self.txn.tables().rows(&prefix, 1)?;
        Ok(!rows.is_empty())
    }

    /// A file's copy, if it has one.
    fn copy_of(&self, source: Ino) -> Result<Option<Ino>, Fatal> {
        copy_of(self.txn, self.id, source)
    }

    /// Puts the tree where it is to be.
    fn attach(&mut self) -> Result<(), Stop> {
        let mut parent = check_target(self.txn, self.job)?;
        let root = self.job.root;
        let mut inode = self.txn.tables().inode(root)?;
        if inode.is_directory() {
            create::add_subdirectory(&mut parent)?;
        }
        let number = directory::take_number(&mut parent)?;
        let dentry = Dentry {
            ino: root,
            kind: inode.kind,
            number,
        };
        directory::put_name(self.txn, self.job.parent, &self.job.name, dentry);
        (inode.parent, inode.parent_number) = (self.job.parent, number);
        inode.ctime = self.txn.stamp();
        self.txn.put_inode(root, &inode);
        parent.length += 1;
        directory::touch(self.txn, &mut parent);
        self.txn.put_inode(self.job.parent, &parent);
        change(self.txn, self.job, CloneState::Attached)?;
        Ok(())
    }
}

/// The copy that a clone has of a file, if it has one.
fn copy_of<B: KvRead>(txn: &Txn<'_, B>, id: Ino, source: Ino) -> Result<Option<Ino>, Fatal> {
    let row_key = key::of_cloned(txn.volume(), key::CLONE_COPY, id, source);
    let row: Option<InoRef> = txn.tables().row(&row_key)?;
    Ok(row.map(|InoRef(copy)| copy))
}

/// Tables of which the rows of a file are copied, and copied again. Truncations are copied by what they do to
/// slices, the other rows of names follow from those by number, and the target of a symlink never changes.
const COPIED: [Table; 6] = [
    Table::Inode,
    Table::DentryNumber,
    Table::Slice,
    Table::Xattr,
    Table::Cut,
    Table::Hole,
];

#[cfg(test)]
#[path = "clone_test.rs"]
mod tests;
