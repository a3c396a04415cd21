//! What holds between the rows of a volume, checked over all of them.
//!
//! Memory is proportional to the number of files and names: this is for tests, and for a whole
//! check on request, not for the path of a request.

mod acls;
mod clones;
mod files;
mod locks;
mod names;
mod quota;
mod trash;

use crate::acl::AclKind;
use crate::changelog::SealedRecord;
use crate::digest::{Digest, row_hash};
use crate::ids::{Ino, VolumeId};
use crate::key::{self, FIRST_LOCAL_TAG, Ids, TRASH_BY_FILE, TRASH_TOTALS, Table};
use crate::key::{CLONE_COPY, CLONE_JOB, CLONE_SOURCE};
use crate::key::{TOTALS_OF_DIRECTORY, TOTALS_OF_GROUP, TOTALS_OF_USER};
use crate::kv::{Family, KvRead};
use crate::outcome::{Fatal, hex};
use crate::row::{
    Blob, CloneJob, CloneState, Counters, Cut, Dentry, Head, Hole, InoRef, Inode, Named,
    PendingDelete, Row, SharedSlice, SliceRow,
};
use crate::row::{Totals, TrashTotals, Trashed};
use crate::tables::{Tables, last_id};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Checks all rules of a volume. An empty list means that all hold.
///
/// # Errors
/// [`Fatal`] if a row is damaged or the store cannot be read.
pub fn check<K: KvRead>(view: &K, volume: VolumeId) -> Result<Vec<String>, Fatal> {
    let tables = Tables::new(view, volume);
    let Some(head) = tables.head()? else {
        return Ok(vec![format!("volume {volume} has no head")]);
    };
    let rows = Rows::read(tables)?;
    let mut found = Found::default();
    rows.check_digests(&head, &mut found);
    names::check(&rows, &mut found);
    files::check(&rows, &tables.counters()?, &mut found);
    acls::check(&rows, &mut found);
    clones::check(&rows, &tables.counters()?, &mut found);
    trash::check(&rows, volume, &mut found);
    quota::check(&rows, volume, &tables.counters()?, &mut found);
    locks::check(tables, &mut found)?;
    check_changelog(tables, &head, &mut found)?;
    Ok(found.0)
}

/// Rules that do not hold.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    /// Notes a rule that does not hold.
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// The replicated rows of a volume.
#[derive(Default)]
struct Rows {
    inodes: BTreeMap<Ino, Inode>,
    /// By parent and name.
    dentries: BTreeMap<(Ino, Vec<u8>), Dentry>,
    /// By parent and number.
    numbers: BTreeMap<(Ino, u64), Named>,
    /// File, parent, number.
    links: BTreeSet<(Ino, Ino, u64)>,
    orphans: BTreeSet<Ino>,
    /// File, chunk, order.
    slices: Vec<(Ino, u32, u64, SliceRow)>,
    cuts: Vec<(Ino, u64, Cut)>,
    /// File, chunk, order.
    holes: Vec<(Ino, u32, u64, Hole)>,
    /// Files that have a row in a table of one kind of file.
    targets: BTreeSet<Ino>,
    xattrs: BTreeSet<Ino>,
    /// By file and name.
    acls: BTreeMap<(Ino, Vec<u8>), Vec<u8>>,
    pending: BTreeMap<u64, PendingDelete>,
    /// Rows that show each shared slice.
    shared: BTreeMap<u64, u64>,
    /// By number.
    clones: BTreeMap<Ino, CloneJob>,
    /// Kind, clone, and file of the rows of clones that lead from one file to another.
    cloned: BTreeMap<(u8, Ino, Ino), Ino>,
    trash: BTreeMap<Ino, Trashed>,
    /// Whole keys.
    trash_marks: BTreeSet<Vec<u8>>,
    trash_totals: TrashTotals,
    directory_totals: BTreeMap<Ino, Totals>,
    user_totals: BTreeMap<u32, Totals>,
    group_totals: BTreeMap<u32, Totals>,
    /// Whole keys.
    limit_marks: BTreeSet<Vec<u8>>,
    digests: BTreeMap<u8, Digest>,
}

impl Rows {
    fn read<K: KvRead>(tables: Tables<'_, K>) -> Result<Self, Fatal> {
        let mut rows = Self::default();
        let prefix = tables.volume().0.to_be_bytes();
        tables.scan(
            Family::State,
            &prefix,
            &key::prefix_end(&prefix),
            |key, bytes| {
                let (_, table, ids) =
                    key::split(key).ok_or(Fatal::Invariant("a key is too short"))?;
                if table >= FIRST_LOCAL_TAG {
                    return Ok(ControlFlow::Break(()));
                }
                let digest = rows.digests.entry(table).or_default();
                digest.add(row_hash(table, ids, bytes));
                rows.take(table, key, ids, bytes)?;
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(rows)
    }

    fn take(&mut self, table: u8, key: &[u8], ids: &[u8], bytes: &[u8]) -> Result<(), Fatal> {
        let short = Fatal::Invariant("a key is too short");
        let mut ids = Ids(ids);
        match Table::from_tag(table) {
            Some(Table::Trash) => return self.take_trash(key, ids, bytes),
            Some(Table::Totals) => return self.take_totals(key, ids, bytes),
            Some(Table::Clone) => return self.take_clone(key, ids, bytes),
            _ => {}
        }
        let first = ids.u64().map(Ino);
        match (table, first) {
            (tag, Some(ino)) if tag == Table::Inode as u8 => {
                self.inodes.insert(ino, Inode::decode(key, bytes)?);
            }
            (tag, Some(parent)) if tag == Table::Dentry as u8 => {
                self.dentries
                    .insert((parent, ids.0.to_vec()), Dentry::decode(key, bytes)?);
            }
            (tag, Some(parent)) if tag == Table::DentryNumber as u8 => {
                let number = ids.u64().ok_or(short)?;
                self.numbers
                    .insert((parent, number), Named::decode(key, bytes)?);
            }
            (tag, Some(ino)) if tag == Table::Slice as u8 => {
                let (chunk, order) = (ids.u32(), ids.u64());
                let (chunk, order) = chunk.zip(order).ok_or(short)?;
                self.slices
                    .push((ino, chunk, order, SliceRow::decode(key, bytes)?));
            }
            (tag, Some(ino)) if tag == Table::Link as u8 => {
                let (parent, number) = (ids.u64(), ids.u64());
                let (parent, number) = parent.zip(number).ok_or(short)?;
                self.links.insert((ino, Ino(parent), number));
            }
            (tag, Some(ino)) if tag == Table::Cut as u8 => {
                self.cuts
                    .push((ino, last_id(key)?, Cut::decode(key, bytes)?));
            }
            (tag, Some(ino)) if tag == Table::Hole as u8 => {
                let (chunk, order) = (ids.u32(), ids.u64());
                let (chunk, order) = chunk.zip(order).ok_or(short)?;
                self.holes
                    .push((ino, chunk, order, Hole::decode(key, bytes)?));
            }
            (tag, Some(ino)) if tag == Table::Orphan as u8 => {
                self.orphans.insert(ino);
            }
            (tag, Some(ino)) if tag == Table::Symlink as u8 => {
                self.targets.insert(ino);
            }
            (tag, Some(ino)) if tag == Table::Xattr as u8 => {
                self.xattrs.insert(ino);
                if AclKind::of(ids.0).is_some() {
                    let Blob(value) = Blob::decode(key, bytes)?;
                    self.acls.insert((ino, ids.0.to_vec()), value);
                }
            }
            (tag, Some(id)) if tag == Table::PendingDelete as u8 => {
                self.pending
                    .insert(id.0, PendingDelete::decode(key, bytes)?);
            }
            (tag, Some(id)) if tag == Table::SharedSlice as u8 => {
                let row = SharedSlice::decode(key, bytes)?;
                self.shared.insert(id.0, row.rows);
            }
            _ => {}
        }
        Ok(())
    }

    fn take_trash(&mut self, key: &[u8], mut ids: Ids<'_>, bytes: &[u8]) -> Result<(), Fatal> {
        let short = Fatal::Invariant("a key is too short");
        match ids.u8().ok_or(short)? {
            TRASH_BY_FILE => {
                let ino = Ino(last_id(key)?);
                self.trash.insert(ino, Trashed::decode(key, bytes)?);
            }
            TRASH_TOTALS => self.trash_totals = TrashTotals::decode(key, bytes)?,
            _ => {
                self.trash_marks.insert(key.to_vec());
            }
        }
        Ok(())
    }

    fn take_clone(&mut self, key: &[u8], mut ids: Ids<'_>, bytes: &[u8]) -> Result<(), Fatal> {
        let short = Fatal::Invariant("a key is too short");
        let (kind, job) = ids.u8().zip(ids.u64()).ok_or(short)?;
        match kind {
            CLONE_JOB => {
                self.clones.insert(Ino(job), CloneJob::decode(key, bytes)?);
            }
            CLONE_COPY | CLONE_SOURCE => {
                let InoRef(to) = InoRef::decode(key, bytes)?;
                self.cloned.insert((kind, Ino(job), Ino(last_id(key)?)), to);
            }
            _ => {
                Blob::decode(key, bytes)?;
            }
        }
        Ok(())
    }

    fn take_totals(&mut self, key: &[u8], mut ids: Ids<'_>, bytes: &[u8]) -> Result<(), Fatal> {
        let short = Fatal::Invariant("a key is too short");
        match ids.u8() {
            Some(TOTALS_OF_DIRECTORY) => {
                let ino = Ino(last_id(key)?);
                self.directory_totals
                    .insert(ino, Totals::decode(key, bytes)?);
            }
            Some(TOTALS_OF_USER) => {
                let uid = ids.u32().ok_or(short)?;
                self.user_totals.insert(uid, Totals::decode(key, bytes)?);
            }
            Some(TOTALS_OF_GROUP) => {
                let gid = ids.u32().ok_or(short)?;
                self.group_totals.insert(gid, Totals::decode(key, bytes)?);
            }
            Some(_) => {
                self.limit_marks.insert(key.to_vec());
            }
            None => return Err(short),
        }
        Ok(())
    }

    /// Whether a file is the top of a tree that is hidden: it has no name yet, or will have none.
    fn is_top(&self, ino: Ino) -> bool {
        let hidden = |job: &&CloneJob| job.state != CloneState::Attached && job.root == ino;
        self.clones.values().any(|job| hidden(&job))
    }

    /// Files that clones which are not attached have made: rows of one of them may not fit together yet.
    fn hidden(&self) -> BTreeSet<Ino> {
        let is_hidden = |job: &Ino| {
            let job = self.clones.get(job);
            job.is_some_and(|job| job.state != CloneState::Attached)
        };
        let sources = self.cloned.keys();
        let sources = sources.filter(|(kind, job, _)| *kind == CLONE_SOURCE && is_hidden(job));
        sources.map(|(_, _, copy)| *copy).collect()
    }

    fn check_digests(&self, head: &Head, found: &mut Found) {
        let tables: BTreeSet<u8> = self
            .digests
            .keys()
            .chain(head.digests.keys())
            .copied()
            .collect();
        for table in tables {
            let kept = head.digests.get(&table).copied().unwrap_or_default();
            let actual = self.digests.get(&table).copied().unwrap_or_default();
            found.unless(kept == actual, || {
                format!("the digest of table {table:#04x} is not that of its rows")
            });
        }
    }
}

/// Records are dense, whole, as many bytes as the head says, and the last is the head's.
fn check_changelog<K: KvRead>(
    tables: Tables<'_, K>,
    head: &Head,
    found: &mut Found,
) -> Result<(), Fatal> {
    let prefix = tables.volume().0.to_be_bytes();
    let mut bytes = 0;
    let mut next = head.changelog_first.0;
    let mut last_crc = None;
    tables.scan(
        Family::Changelog,
        &prefix,
        &key::prefix_end(&prefix),
        |key, record| {
            let seq = last_id(key)?;
            found.unless(seq == next, || {
                format!("record {seq} stands where {next} should")
            });
            next = seq.saturating_add(1);
            bytes += record.len() as u64;
            last_crc = Some(SealedRecord::from_bytes(record)?.crc);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    found.unless(next == head.token.seq.0.saturating_add(1), || {
        format!("records end at {next}, the volume at {}", head.token.seq)
    });
    found.unless(bytes == head.changelog_bytes, || {
        format!(
            "records have {bytes} bytes, the head says {}",
            head.changelog_bytes
        )
    });
    found.unless(last_crc.is_none_or(|crc| crc == head.record_crc), || {
        "the last record's crc is not the head's".to_owned()
    });
    Ok(())
}

/// A key part for messages.
fn shown(bytes: &[u8]) -> String {
    if bytes.iter().all(u8::is_ascii_graphic) {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        hex(bytes)
    }
}

/// What counts a volume's rows say they add up to.
fn totals(counters: &Counters) -> [u64; 5] {
    [
        counters.inodes,
        counters.bytes,
        counters.orphans,
        counters.pending_slices,
        counters.pending_bytes,
    ]
}
