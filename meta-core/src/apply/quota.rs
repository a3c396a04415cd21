//! What files add up to, and that it stays within the limits.
//!
//! A command that changes files says nothing of this: once it has done its work, what its inode rows were
//! and are tells what comes and goes, where. So no command can forget to count, and totals are what a
//! scan of all files would find. A file counts in all directories above its first name, and for its owner
//! and group; without a name it counts for the volume alone.

mod above;

use super::maintain::step;
use super::{Done, clone};
use crate::attr::{Caller, FileKind};
use crate::ids::{Ino, Level, VolumeId};
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::{COUNT_FILES_MAX, COUNT_STEPS_MAX, TOTALS_DEPTH_MAX, TOTALS_ROWS_MAX};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::quota::{Amount, Limit, Subject};
use crate::row::{Inode, QuotaState, Totals};
use crate::seeded::{Bug, has};
use crate::tables::{Tables, last_id};
use crate::txn::{InodeChange, Txn};
use above::Above;
use std::collections::BTreeMap;

/// The level from which there are totals and limits.
pub(crate) const LEVEL: Level = Level(4);
/// All files are in the totals, also those to come.
pub(crate) const ALL_COUNTED: Ino = Ino(u64::MAX);

/// Where the top of a hidden tree lies: what is being cloned.
pub(crate) const NOWHERE: Ino = Ino(0);

const NOT_THE_SUM: Fatal = Fatal::Invariant("totals are not the sum of their files");

/// Where a file counts, and for what.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share {
    parent: Ino,
    uid: u32,
    gid: u32,
    amount: Amount,
}

impl Share {
    /// A file without names has none, and nothing lies above the root or the top of a hidden tree.
    fn of(ino: Ino, inode: &Inode) -> Option<Self> {
        let is_top = ino == Ino::ROOT || inode.parent == NOWHERE;
        (inode.nlink > 0 && !is_top).then(|| Self {
            parent: inode.parent,
            uid: inode.uid,
            gid: inode.gid,
            amount: own(inode),
        })
    }
}

/// What a file counts for itself.
pub(crate) fn own(inode: &Inode) -> Amount {
    match inode.kind {
        FileKind::Directory => Amount {
            directories: 1,
            ..Amount::default()
        },
        FileKind::Regular => Amount {
            files: 1,
            bytes: super::setattr::counted(inode.length),
            ..Amount::default()
        },
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Amount {
            files: 1,
            ..Amount::default()
        },
    }
}

/// What comes to something, or goes from it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Delta {
    files: i128,
    directories: i128,
    bytes: i128,
}

impl Delta {
    fn add(&mut self, amount: Amount, sign: i128) {
        self.files += sign * i128::from(amount.files);
        self.directories += sign * i128::from(amount.directories);
        self.bytes += sign * i128::from(amount.bytes);
    }

    fn plus(&mut self, other: Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.bytes += other.bytes;
    }

    fn apply(self, amount: Amount) -> Result<Amount, Fatal> {
        let sum = |before: u64, delta: i128| {
            u64::try_from(i128::from(before) + delta).map_err(|_| NOT_THE_SUM)
        };
        Ok(Amount {
            files: sum(amount.files, self.files)?,
            directories: sum(amount.directories, self.directories)?,
            bytes: sum(amount.bytes, self.bytes)?,
        })
    }
}

/// A change of one row of totals.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Change {
    /// What comes and goes.
    all: Delta,
    /// That part of it that comes of itself, and is not refused: a file that lost its first name counts
    /// where its next one is.
    unasked: Delta,
}

impl Change {
    fn plus(&mut self, other: Self) {
        self.all.plus(other.all);
        self.unasked.plus(other.unasked);
    }

    /// Whether the row stays as it is.
    fn is_nothing(&self) -> bool {
        self.all == Delta::default()
    }

    /// Whether it goes past a limit; what only shrinks never does.
    fn is_past(&self, limit: Limit, after: Amount) -> bool {
        let bytes = self.all.bytes - self.unasked.bytes;
        let inodes = self.all.files - self.unasked.files;
        let inodes = inodes + self.all.directories - self.unasked.directories;
        let past = |asked: i128, all: i128, limit: Option<u64>, after: u64| {
            asked > 0 && all > 0 && limit.is_some_and(|limit| after > limit)
        };
        let all_inodes = self.all.files + self.all.directories;
        past(bytes, self.all.bytes, limit.bytes, after.bytes)
            || past(inodes, all_inodes, limit.inodes, after.inodes())
    }
}

/// Counts what a command has done to files, before it is sealed.
///
/// # Errors
/// [`Refusal::NoSpace`] past a limit of the volume, [`Refusal::OverQuota`] past another one, and
/// [`Refusal::LimitReached`] where directories are too deep.
pub(crate) fn charge<B: KvRead>(txn: &mut Txn<'_, B>) -> Result<(), Stop> {
    let (before, counters) = txn.counters_changed();
    let state = counters.quota;
    let grows =
        |from: u64, to: u64, limit: Option<u64>| to > from && limit.is_some_and(|limit| to > limit);
    if grows(before.bytes, counters.bytes, state.limit.bytes)
        || grows(before.inodes, counters.inodes, state.limit.inodes)
    {
        return Err(Refusal::NoSpace.into());
    }
    if state.counted == Ino::default() {
        return Ok(());
    }
    let mut work = Charge::default();
    for change in txn.inode_changes()? {
        work.take(txn, state, &change)?;
    }
    work.settle(txn, TOTALS_DEPTH_MAX)
}

/// All that one command changes.
#[derive(Default)]
struct Charge {
    /// By the directory that holds the files.
    places: BTreeMap<Ino, Change>,
    /// Those directories and all above them, as far as they were read.
    above: Above,
    users: BTreeMap<u32, Change>,
    groups: BTreeMap<u32, Change>,
    /// Directories that moved, and where to.
    moved: Vec<(Ino, Ino)>,
    removed: Vec<Ino>,
}

impl Charge {
    fn take<B: KvRead>(
        &mut self,
        txn: &Txn<'_, B>,
        state: QuotaState,
        change: &InodeChange,
    ) -> Result<(), Fatal> {
        let ino = change.ino;
        let share = |inode: &Option<Inode>| Share::of(ino, inode.as_ref()?);
        let (before, after) = (share(&change.before), share(&change.after));
        if before == after {
            return Ok(());
        }
        if has(Bug::TotalsNotMoved) && before.is_some() && after.is_some() {
            return Ok(());
        }
        let (links, left) = (links(&change.before), links(&change.after));
        let unasked = left > 0 && left < links;
        let is_directory = before
            .or(after)
            .is_some_and(|one| one.amount.directories > 0);
        // What lies inside a directory moves with it.
        let mut inside = Amount::default();
        match (before, after) {
            (Some(before), Some(after)) if is_directory && before.parent != after.parent => {
                self.moved.push((ino, after.parent));
                let row = txn.tables().directory_totals(ino)?;
                inside = row.map(|row| row.amount).unwrap_or_default();
            }
            // A hidden tree comes with all that is in it.
            (None, Some(after)) if is_directory && links > 0 => {
                self.moved.push((ino, after.parent));
                let row = txn.tables().directory_totals(ino)?;
                inside = row.map(|row| row.amount).unwrap_or_default();
            }
            (Some(_), None) if is_directory => self.removed.push(ino),
            _ => {}
        }
        for (share, sign) in [(before, -1), (after, 1)] {
            let Some(share) = share else { continue };
            let mut delta = Delta::default();
            delta.add(inside, sign);
            if ino < state.counted {
                delta.add(share.amount, sign);
            }
            let added = Change {
                all: delta,
                unasked: if unasked { delta } else { Delta::default() },
            };
            self.places.entry(share.parent).or_default().plus(added);
            if ino < state.owners_counted {
                let mut all = Delta::default();
                all.add(share.amount, sign);
                let unasked = Delta::default();
                let change = Change { all, unasked };
                self.users.entry(share.uid).or_default().plus(change);
                self.groups.entry(share.gid).or_default().plus(change);
            }
        }
        Ok(())
    }

    /// Writes the rows, as far as directories are not deeper than they may be.
    fn settle<B: KvRead>(self, txn: &mut Txn<'_, B>, depth_max: usize) -> Result<(), Stop> {
        let mut above = self.above;
        for (ino, parent) in &self.moved {
            above.moves(*ino, *parent);
        }
        for (place, change) in self.places {
            // Files that only changed places within a directory leave all above it alone.
            if change == Change::default() {
                continue;
            }
            above.walk(txn.tables(), place, depth_max)?;
            above.add(place, change)?;
            // A mirror takes the record of it in one command.
            if above.len() > TOTALS_ROWS_MAX && depth_max <= TOTALS_DEPTH_MAX {
                return Err(Refusal::LimitReached.into());
            }
        }
        above.settle(txn)?;
        for (uid, change) in self.users {
            change_owner(txn, Subject::User(uid), change)?;
        }
        for (gid, change) in self.groups {
            change_owner(txn, Subject::Group(gid), change)?;
        }
        let volume = txn.volume();
        for (ino, parent) in self.moved {
            if let Some(row) = txn.tables().directory_totals(ino)? {
                txn.put(
                    key::directory_totals(volume, ino),
                    &Totals { parent, ..row },
                );
            }
        }
        for ino in self.removed {
            forget(txn, ino)?;
        }
        Ok(())
    }
}

fn links(inode: &Option<Inode>) -> u32 {
    inode.as_ref().map_or(0, |inode| inode.nlink)
}

/// A directory that went had nothing in it; a limit that it had goes with it.
fn forget<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino) -> Result<(), Fatal> {
    let Some(row) = txn.tables().directory_totals(ino)? else {
        return Ok(());
    };
    if row.amount != Amount::default() || row.limit.is_none() {
        return Err(NOT_THE_SUM);
    }
    put_limit(txn, Subject::Directory(ino), row, Limit::NONE)
}

/// The directory above another one.
fn parent_of<K: KvRead + ?Sized>(tables: Tables<'_, K>, ino: Ino) -> Result<Ino, Fatal> {
    let inode: Option<Inode> = tables.row(&key::by_ino(tables.volume(), Table::Inode, ino))?;
    let inode = inode.ok_or(Fatal::Invariant("a directory above a file is no inode"))?;
    Ok(inode.parent)
}

/// A directory and all above it, up to the root.
pub(crate) fn chain<K: KvRead + ?Sized>(
    tables: Tables<'_, K>,
    from: Ino,
    depth_max: usize,
) -> Result<Vec<Ino>, Stop> {
    let mut chain = vec![from];
    let mut at = from;
    while at != Ino::ROOT {
        if chain.len() >= depth_max {
            return Err(Refusal::LimitReached.into());
        }
        at = match tables.directory_totals(at)? {
            Some(row) => row.parent,
            None => parent_of(tables, at)?,
        };
        if at == NOWHERE {
            break;
        }
        chain.push(at);
    }
    Ok(chain)
}

/// Changes the totals of an owner.
fn change_owner<B: KvRead>(
    txn: &mut Txn<'_, B>,
    subject: Subject,
    change: Change,
) -> Result<(), Stop> {
    if change.is_nothing() {
        return Ok(());
    }
    let (own_key, row) = totals(txn.tables(), subject)?;
    put_changed(txn, own_key, row, change)
}

/// Writes a row as a change leaves it, unless that is past the row's limit.
fn put_changed<B: KvRead>(
    txn: &mut Txn<'_, B>,
    own_key: Vec<u8>,
    mut row: Totals,
    change: Change,
) -> Result<(), Stop> {
    row.amount = change.all.apply(row.amount)?;
    if change.is_past(row.limit, row.amount) {
        return Err(Refusal::OverQuota.into());
    }
    put_totals(txn, own_key, &row);
    Ok(())
}

/// The row of something, with its key; one that says nothing if there is none yet.
fn totals<K: KvRead + ?Sized>(
    tables: Tables<'_, K>,
    subject: Subject,
) -> Result<(Vec<u8>, Totals), Fatal> {
    let own_key = totals_key(tables.volume(), subject)?;
    let row = match (tables.row(&own_key)?, subject) {
        (Some(row), _) => row,
        (None, Subject::Directory(ino)) => Totals {
            parent: parent_of(tables, ino)?,
            ..Totals::default()
        },
        (None, _) => Totals::default(),
    };
    Ok((own_key, row))
}

fn totals_key(volume: VolumeId, subject: Subject) -> Result<Vec<u8>, Fatal> {
    match subject {
        Subject::Volume => Err(Fatal::Invariant("the volume has no row of totals")),
        Subject::Directory(ino) => Ok(key::directory_totals(volume, ino)),
        Subject::User(uid) => Ok(key::user_totals(volume, uid)),
        Subject::Group(gid) => Ok(key::group_totals(volume, gid)),
    }
}

fn put_totals<B: KvRead>(txn: &mut Txn<'_, B>, own_key: Vec<u8>, row: &Totals) {
    if row.amount == Amount::default() && row.limit.is_none() {
        txn.delete(own_key);
    } else {
        txn.put(own_key, row);
    }
}

/// Refuses a name of a file with others in another place where other limits hold than in this one: it would
/// count on one side only, and could come past the other's limits later. Nor may the place be so deep that
/// the file could not come to count there.
pub(super) fn check_further_name<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Ino,
    to: Ino,
) -> Result<(), Stop> {
    let state = txn.counters().quota;
    if from == to || state.counted == Ino::default() {
        return Ok(());
    }
    if state.limited_directories == 0 {
        return chain(txn.tables(), to, TOTALS_DEPTH_MAX).map(drop);
    }
    let mut above = Above::default();
    above.walk(txn.tables(), from, TOTALS_DEPTH_MAX)?;
    above.walk(txn.tables(), to, TOTALS_DEPTH_MAX)?;
    if above.limited(from)? == above.limited(to)? {
        Ok(())
    } else {
        Err(Refusal::CrossesQuota.into())
    }
}

/// Sets or takes away a limit.
pub(super) fn set_quota<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    subject: Subject,
    limit: Limit,
) -> Done {
    if txn.counters().quota.counted == Ino::default() {
        return Err(Refusal::NotSupported.into());
    }
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    // The highest number stands for none.
    let is_valid = |limit: Option<u64>| limit != Some(u64::MAX);
    if !is_valid(limit.bytes) || !is_valid(limit.inodes) {
        return Err(Refusal::InvalidArgument.into());
    }
    match subject {
        Subject::Volume => {
            txn.counters().quota.limit = limit;
            return Ok(Success::Done);
        }
        // The whole volume is what lies below the root, and more.
        Subject::Directory(Ino::ROOT) => return Err(Refusal::InvalidArgument.into()),
        Subject::Directory(ino) if txn.tables().directory(ino)?.nlink == 0 => {
            return Err(Refusal::NotFound.into());
        }
        Subject::Directory(ino) => clone::check_seen(txn, [ino])?,
        Subject::User(_) | Subject::Group(_) => {
            let state = &mut txn.counters().quota;
            if !limit.is_none() && state.owners_counted == Ino::default() {
                state.owners_counted = Ino::ROOT;
            }
        }
    }
    let (_, row) = totals(txn.tables(), subject)?;
    put_limit(txn, subject, row, limit)?;
    Ok(Success::Done)
}

/// Writes a row with another limit, and what tells of it.
fn put_limit<B: KvRead>(
    txn: &mut Txn<'_, B>,
    subject: Subject,
    row: Totals,
    limit: Limit,
) -> Result<(), Fatal> {
    let own_key = totals_key(txn.volume(), subject)?;
    put_totals(txn, own_key, &Totals { limit, ..row });
    let mark = key::limited(txn.volume(), subject);
    if limit.is_none() {
        txn.delete(mark);
    } else {
        txn.mark(mark);
    }
    if matches!(subject, Subject::Directory(_)) {
        let (had, has) = (!row.limit.is_none(), !limit.is_none());
        let count = &mut txn.counters().quota.limited_directories;
        let others = count
            .checked_sub(u64::from(had))
            .ok_or(Fatal::Invariant("limits of directories are not counted"))?;
        *count = others + u64::from(has);
    }
    Ok(())
}

/// What a volume has when it comes to the level: with nothing in it, all is counted.
pub(super) fn begin<B: KvRead>(txn: &mut Txn<'_, B>) {
    let counters = txn.counters();
    if counters.quota.counted == Ino::default() {
        let is_empty = counters.inodes == 1;
        counters.quota.counted = if is_empty { ALL_COUNTED } else { Ino::ROOT };
    }
}

/// Takes the next files into the totals that do not have them, of directories before those of owners.
pub(super) fn count_files<B: KvRead>(txn: &mut Txn<'_, B>, files_max: u32) -> Done {
    let files_max = usize::try_from(files_max).unwrap_or(COUNT_FILES_MAX);
    let files_max = files_max.clamp(1, COUNT_FILES_MAX);
    let state = txn.counters().quota;
    if state.counted != Ino::default() && state.counted != ALL_COUNTED {
        let (rows, next) = count_from(txn, state.counted, files_max, Counting::Places)?;
        txn.counters().quota.counted = next;
        return Ok(step(rows, true));
    }
    if state.owners_counted != Ino::default() && state.owners_counted != ALL_COUNTED {
        let (rows, next) = count_from(txn, state.owners_counted, files_max, Counting::Owners)?;
        txn.counters().quota.owners_counted = next;
        return Ok(step(rows, next != ALL_COUNTED));
    }
    Ok(step(0, false))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Places,
    Owners,
}

/// Counts files from an id on. Gives how many, and the id up to which all are counted now. What was there
/// is there: no limit refuses it.
fn count_from<B: KvRead>(
    txn: &mut Txn<'_, B>,
    from: Ino,
    files_max: usize,
    counting: Counting,
) -> Result<(usize, Ino), Stop> {
    let volume = txn.volume();
    let begin = key::by_ino(volume, Table::Inode, from);
    let end = key::prefix_end(&key::single(volume, Table::Inode));
    let rows: Vec<(Vec<u8>, Inode)> = txn.tables().rows_from(&begin, &end, files_max)?;
    let mut work = Charge::default();
    let (mut seen, mut steps) = (0, 0);
    let mut next = ALL_COUNTED;
    for (own_key, inode) in &rows {
        let ino = Ino(last_id(own_key)?);
        if steps >= COUNT_STEPS_MAX {
            next = ino;
            break;
        }
        seen += 1;
        if rows.len() == files_max {
            next = Ino(ino.0.saturating_add(1));
        }
        let Some(share) = Share::of(ino, inode) else {
            continue;
        };
        let mut all = Delta::default();
        all.add(share.amount, 1);
        let change = Change { all, unasked: all };
        match counting {
            Counting::Places => {
                // What was read for one file is not read again for the next. All that lies above it counts
                // all the same: every node, of whatever build, must stop at the same file.
                if !work.places.contains_key(&share.parent) {
                    steps += work.above.walk(txn.tables(), share.parent, usize::MAX)?;
                }
                work.places.entry(share.parent).or_default().plus(change);
            }
            Counting::Owners => {
                work.users.entry(share.uid).or_default().plus(change);
                work.groups.entry(share.gid).or_default().plus(change);
            }
        }
    }
    // Directories of before may be as deep as they are.
    work.settle(txn, usize::MAX)?;
    Ok((seen, next))
}
