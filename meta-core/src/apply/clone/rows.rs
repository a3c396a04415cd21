//! Rows of one file and of its copy.

use super::super::{maintain, setattr, shared};
use super::{Copying, SHORT, note};
use crate::access::{self, EXECUTE, READ};
use crate::acl::AclKind;
use crate::attr::FileKind;
use crate::ids::{ChunkIndex, DentryNumber, Ino, SliceOrder};
use crate::key::{self, CLONE_COPY, CLONE_DIRTY, CLONE_SCAN, CLONE_SOURCE, Ids, Key, Table};
use crate::kv::{Family, KvRead};
use crate::outcome::{Fatal, Refusal, Stop};
use crate::query::Slice;
use crate::row::{Blob, Hole, InoRef, Inode, SliceRow};
use crate::tables::cut_at;
use std::ops::ControlFlow;

/// The tables that a file's scan goes through, in this order. Its inode and its target are copied before.
const SCANNED: [Table; 4] = [Table::Xattr, Table::Hole, Table::Slice, Table::DentryNumber];

/// Whether a file can have rows in a table.
fn may_have(inode: &Inode, table: Table) -> bool {
    match table {
        Table::Hole => inode.holes,
        Table::Slice => inode.kind == FileKind::Regular && inode.next > 0,
        Table::DentryNumber => inode.is_directory(),
        _ => true,
    }
}

impl<B: KvRead> Copying<'_, '_, B> {
    /// Makes the copy of a file, of which the rows are still to be copied.
    pub(super) fn map(
        &mut self,
        source: Ino,
        copy: Ino,
        (parent, number): (Ino, DentryNumber),
    ) -> Result<(), Stop> {
        let inode = self.txn.tables().inode(source)?;
        let is_directory = inode.is_directory();
        let made = Inode {
            nlink: if is_directory { 2 } else { 1 },
            length: 0,
            parent,
            parent_number: number,
            next: if is_directory {
                DentryNumber::FIRST.0
            } else {
                0
            },
            btime: Some(self.txn.stamp()),
            holes: false,
            access_acl: false,
            default_acl: false,
            ..inode
        };
        self.txn.put_inode(copy, &made);
        self.txn.counters().inodes += 1;
        let volume = self.txn.volume();
        let of = |kind: u8, ino: Ino| key::of_cloned(volume, kind, self.id, ino);
        let (by_source, by_copy) = (of(CLONE_COPY, source), of(CLONE_SOURCE, copy));
        let scan = of(CLONE_SCAN, source);
        self.txn.put(by_source, &InoRef(copy));
        self.txn.put(by_copy, &InoRef(source));
        self.txn.put(scan, &cursor(0, &[]));
        self.job.mapped += 1;
        if made.kind == FileKind::Symlink {
            self.sync_equal::<Blob>(Table::Symlink, (source, copy), &[])?;
        }
        self.sync_inode(source, copy)
    }

    /// Copies again what has changed since it was copied.
    pub(super) fn changed_rows(&mut self) -> Result<(), Stop> {
        let prefix = key::of_clone(self.txn.volume(), CLONE_DIRTY, self.id);
        for whole in self.keys(&prefix, &key::prefix_end(&prefix), self.room())? {
            if self.room() == 0 {
                break;
            }
            self.rows += 1;
            let mut ids = Ids(whole.get(prefix.len()..).unwrap_or_default());
            let source = Ino(ids.u64().ok_or(SHORT)?);
            let table = ids.u8().and_then(Table::from_tag).ok_or(SHORT)?;
            let done = match self.copy_of(source)? {
                Some(copy) => self.sync(table, (source, copy), ids.0)?,
                None => true,
            };
            if done {
                self.txn.delete(whole);
            }
        }
        Ok(())
    }

    fn keys(&self, begin: &[u8], end: &[u8], count_max: usize) -> Result<Vec<Vec<u8>>, Fatal> {
        let mut keys = Vec::new();
        if count_max == 0 {
            return Ok(keys);
        }
        self.txn
            .tables()
            .scan(Family::State, begin, end, |key, _| {
                keys.push(key.to_vec());
                Ok(if keys.len() < count_max {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
        Ok(keys)
    }

    /// Goes on with files that were not gone through yet.
    pub(super) fn scans(&mut self) -> Result<(), Stop> {
        let prefix = key::of_clone(self.txn.volume(), CLONE_SCAN, self.id);
        while self.room() > 0 {
            let rows: Vec<(Vec<u8>, Blob)> = self.txn.tables().rows(&prefix, 1)?;
            let Some((row_key, Blob(place))) = rows.into_iter().next() else {
                break;
            };
            let source = Ino(crate::tables::last_id(&row_key)?);
            let Some(copy) = self.copy_of(source)? else {
                self.txn.delete(row_key);
                continue;
            };
            let before = self.rows;
            match self.scan((source, copy), &place)? {
                Some(next) => self.txn.put(row_key, &next),
                None => self.txn.delete(row_key),
            }
            // A file without rows is work too.
            self.rows = self.rows.max(before + 1);
        }
        Ok(())
    }

    /// Copies rows of a file from a place on. Tells where to go on; nothing if it is all copied.
    fn scan(&mut self, (source, copy): (Ino, Ino), place: &[u8]) -> Result<Option<Blob>, Stop> {
        let volume = self.txn.volume();
        let row: Option<Inode> =
            self.txn
                .tables()
                .row(&key::by_ino(volume, Table::Inode, source))?;
        // What was deleted has no rows; its name goes as well.
        let Some(inode) = row else { return Ok(None) };
        let (first, mut from) = place.split_first().ok_or(SHORT)?;
        let begun = SCANNED.iter().position(|table| *table as u8 == *first);
        for table in SCANNED.into_iter().skip(begun.unwrap_or(0)) {
            if !may_have(&inode, table) {
                from = &[];
                continue;
            }
            let prefix = key::by_ino(volume, table, source);
            let begin = [&prefix[..], from].concat();
            let room = self.room();
            if room == 0 {
                return Ok(Some(cursor(table as u8, from)));
            }
            let keys = self.keys(&begin, &key::prefix_end(&prefix), room)?;
            let found = keys.len();
            for (number, whole) in keys.into_iter().enumerate() {
                let ids = whole.get(prefix.len()..).unwrap_or_default();
                if self.room() == 0 {
                    return Ok(Some(cursor(table as u8, ids)));
                }
                self.rows += 1;
                if !self.sync(table, (source, copy), ids)? {
                    // It is to be looked at when others have gone.
                    let note = note::dirty(self.txn, self.id, source, table as u8, ids);
                    self.txn.mark(note);
                }
                if number + 1 == found && found == room {
                    let mut next = ids.to_vec();
                    next.push(0);
                    return Ok(Some(cursor(table as u8, &next)));
                }
            }
            from = &[];
        }
        Ok(None)
    }

    /// Makes one row of a copy what follows from that of its source. Says whether that is done.
    fn sync(&mut self, table: Table, (source, copy): (Ino, Ino), ids: &[u8]) -> Result<bool, Stop> {
        let mut numbers = Ids(ids);
        match table {
            Table::Inode => self.sync_inode(source, copy)?,
            Table::Xattr => self.sync_xattr((source, copy), ids)?,
            Table::Hole => self.sync_hole((source, copy), ids)?,
            Table::Slice => {
                let (chunk, order) = (numbers.u32(), numbers.u64());
                let (chunk, order) = chunk.zip(order).ok_or(SHORT)?;
                self.sync_slice((source, copy), (ChunkIndex(chunk), SliceOrder(order)))?;
            }
            Table::Cut => self.sync_cut(source)?,
            Table::DentryNumber => {
                let number = DentryNumber(numbers.u64().ok_or(SHORT)?);
                return self.sync_name((source, copy), number);
            }
            _ => return Err(Fatal::Invariant("a row that no file has").into()),
        }
        Ok(true)
    }

    /// Whether the caller may copy a file, as it is now.
    fn check(&self, source: Ino, inode: &Inode) -> Result<(), Stop> {
        let caller = &self.job.caller;
        if caller.is_root() {
            return Ok(());
        }
        let wanted = match inode.kind {
            FileKind::Regular => READ,
            FileKind::Directory => READ | EXECUTE,
            FileKind::CharDevice | FileKind::BlockDevice => {
                return Err(Refusal::NotPermitted.into());
            }
            FileKind::Symlink | FileKind::Fifo | FileKind::Socket => 0,
        };
        if wanted > 0 {
            access::check(&self.txn.tables(), (source, inode), caller, wanted)?;
        }
        let is_own = inode.uid == caller.uid && caller.in_group(inode.gid);
        if self.job.preserve && !is_own {
            return Err(Refusal::NotPermitted.into());
        }
        Ok(())
    }

    /// What the names of a copy make of it stays; all else is the source's.
    fn sync_inode(&mut self, source: Ino, copy: Ino) -> Result<(), Stop> {
        let volume = self.txn.volume();
        let row: Option<Inode> =
            self.txn
                .tables()
                .row(&key::by_ino(volume, Table::Inode, source))?;
        // Its name goes as well.
        let Some(from) = row else { return Ok(()) };
        self.check(source, &from)?;
        let mut to = self.txn.tables().inode(copy)?;
        match from.kind {
            FileKind::Regular => setattr::recount(self.txn, &mut to, from.length)?,
            FileKind::Directory => {}
            _ => to.length = from.length,
        }
        let caller = &self.job.caller;
        let since = self.job.since;
        let preserve = self.job.preserve;
        let own = |of_source: u32, of_caller: u32| if preserve { of_source } else { of_caller };
        let bits = match from.kind {
            FileKind::Symlink => from.mode,
            _ => from.mode & 0o777 & !self.job.umask,
        };
        let new = Inode {
            mode: own(from.mode, bits),
            uid: own(from.uid, caller.uid),
            gid: own(from.gid, caller.gid),
            atime: if preserve { from.atime } else { since },
            mtime: if preserve { from.mtime } else { since },
            ctime: self.txn.stamp(),
            next: to.next.max(from.next),
            holes: to.holes || from.holes,
            ..to
        };
        self.txn.put_inode(copy, &new);
        Ok(())
    }

    /// Whether copies have an extended attribute.
    fn keeps(&self, name: &[u8]) -> bool {
        if self.job.preserve {
            self.job.caller.is_root() || name.starts_with(b"user.") || AclKind::of(name).is_some()
        } else {
            name.starts_with(b"user.")
        }
    }

    fn sync_xattr(&mut self, (source, copy): (Ino, Ino), name: &[u8]) -> Result<(), Stop> {
        if !self.keeps(name) {
            return Ok(());
        }
        self.sync_equal::<Blob>(Table::Xattr, (source, copy), name)?;
        let Some(kind) = AclKind::of(name) else {
            return Ok(());
        };
        let whole = key::xattr(self.txn.volume(), copy, name);
        let is_there = self.txn.tables().row::<Blob>(&whole)?.is_some();
        let mut inode = self.txn.tables().inode(copy)?;
        match kind {
            AclKind::Access => inode.access_acl = is_there,
            AclKind::Default => inode.default_acl = is_there,
        }
        self.txn.put_inode(copy, &inode);
        Ok(())
    }

    fn sync_hole(&mut self, (source, copy): (Ino, Ino), ids: &[u8]) -> Result<(), Stop> {
        self.sync_equal::<Hole>(Table::Hole, (source, copy), ids)?;
        let order = SliceOrder(crate::tables::last_id(ids)?);
        self.is_later(copy, order, true)
    }

    /// A row that is the same in both.
    fn sync_equal<R: crate::row::Row>(
        &mut self,
        table: Table,
        (source, copy): (Ino, Ino),
        ids: &[u8],
    ) -> Result<(), Fatal> {
        let whole = |ino: Ino| {
            Key::new(self.txn.volume(), table)
                .u64(ino.0)
                .bytes(ids)
                .done()
        };
        let (from, to) = (whole(source), whole(copy));
        match self.txn.tables().row::<R>(&from)? {
            Some(row) => {
                self.bytes += row.encode(&to).len();
                self.txn.put(to, &row);
            }
            None => self.txn.delete(to),
        }
        Ok(())
    }

    /// The copy has a row of this order.
    fn is_later(&mut self, copy: Ino, order: SliceOrder, hole: bool) -> Result<(), Stop> {
        let mut inode = self.txn.tables().inode(copy)?;
        let next = order.0.checked_add(1);
        let next = next.ok_or(Fatal::Exhausted("slice orders"))?;
        if inode.next < next || (hole && !inode.holes) {
            inode.next = inode.next.max(next);
            inode.holes |= hole;
            self.txn.put_inode(copy, &inode);
        }
        Ok(())
    }

    /// Shows of a slice what the source shows of it: a copy has no truncations of its own.
    fn sync_slice(
        &mut self,
        (source, copy): (Ino, Ino),
        (chunk, order): (ChunkIndex, SliceOrder),
    ) -> Result<(), Stop> {
        let volume = self.txn.volume();
        let row: Option<SliceRow> = self
            .txn
            .tables()
            .row(&key::slice(volume, source, chunk, order))?;
        let to = key::slice(volume, copy, chunk, order);
        let found: Option<SliceRow> = self.txn.tables().row(&to)?;
        let end = self.cut(source, order)?;
        let wanted = row.as_ref().and_then(|row| {
            let len = maintain::clipped(chunk, row, end);
            (len > 0).then(|| SliceRow { len, ..row.clone() })
        });
        if wanted == found {
            return Ok(());
        }
        let stays = match (&wanted, &found) {
            (Some(wanted), Some(found)) => wanted.id == found.id,
            _ => false,
        };
        if let (Some(found), false) = (&found, stays) {
            maintain::delete_slice(self.txn, copy, to.clone(), found)?;
        }
        let (Some(wanted), Some(row)) = (wanted, row) else {
            return Ok(());
        };
        if !stays {
            let slice = Slice {
                chunk,
                order,
                id: row.id,
                size: row.size,
                off: row.off,
                len: row.len,
                at: row.at,
                frame_crcs: Vec::new(),
            };
            shared::share(self.txn, source, &slice)?;
            self.is_later(copy, order, false)?;
        }
        self.bytes += wanted.frame_crcs.len() * size_of::<u32>();
        self.txn.put(to, &wanted);
        Ok(())
    }

    /// Where slices of an order end in a file.
    fn cut(&mut self, source: Ino, order: SliceOrder) -> Result<u64, Fatal> {
        if self.cuts.as_ref().is_none_or(|(ino, _)| *ino != source) {
            self.cuts = Some((source, self.txn.tables().cuts(source)?));
        }
        let cuts = self.cuts.as_ref().map(|(_, cuts)| cuts_end(cuts, order));
        Ok(cuts.unwrap_or(u64::MAX))
    }

    /// A truncation came, or is done with: all slices of the file are gone through again.
    fn sync_cut(&mut self, source: Ino) -> Result<(), Fatal> {
        let row_key = key::of_cloned(self.txn.volume(), CLONE_SCAN, self.id, source);
        let known: Option<Blob> = self.txn.tables().row(&row_key)?;
        let place = |table: u8| SCANNED.iter().position(|one| *one as u8 == table);
        let slices = place(Table::Slice as u8);
        let earlier = known.is_some_and(|Blob(at)| {
            let table = at.first().copied().unwrap_or_default();
            place(table) < slices
        });
        if !earlier {
            self.txn.put(row_key, &cursor(Table::Slice as u8, &[]));
        }
        Ok(())
    }
}

fn cuts_end(cuts: &[(Vec<u8>, u64, crate::row::Cut)], order: SliceOrder) -> u64 {
    cut_at(cuts, order.0)
}

/// A place in a file's rows.
fn cursor(table: u8, ids: &[u8]) -> Blob {
    let mut place = vec![table];
    place.extend_from_slice(ids);
    Blob(place)
}
