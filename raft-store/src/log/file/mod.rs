//! The log's rows in files of its own: of one size, written once when they are made, and then written
//! over in turn, because a sync is cheaper where the file system has nothing of its own to write.
//!
//! [`record`] has the bytes, [`slot`] the files, [`rows`] what is in them, [`recovery`] reads them;
//! [`place`] tells their directory from that of the database that the log was in before.
//! A file that is used anew gets a new number. Its first record names the file before it and where
//! that one ends, the first file that is still needed, and all marks, so that no file is needed
//! for them. `convert` puts the rows of such a database into files. A file before the needed ones is written over only when the record that says so is on the disk.

#[cfg(feature = "rocksdb")]
mod convert;
mod lock;
mod place;
mod record;
mod recovery;
mod rows;
mod slot;

use super::disk::{Change, Durability, Ends};
use super::hint::{Hint, Tip};
use crate::durable;
use crate::error::StoreError;
use lock::Lock;
use meta_core::failpoint::{self, Point};
use parking_lot::Mutex;
use place::Holds;
use record::{BLOCK_BYTES, Head, Kind, Start};
use recovery::Recovered;
use rows::Rows;
use slot::{Slot, Slots};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// More would not fit what a file's places are told in.
const ROUND_BYTES_MAX: usize = 1 << 30;
/// So many files that hold nothing make another one begin before this one is full.
const EMPTY_FILES_MAX: usize = 4;
/// What an operation has beside its key and value, at most.
const OPERATION_BYTES: usize = 8;

/// An open log. Keys of entries rise through the whole of it: it is the log of one group.
#[derive(Debug)]
pub(crate) struct FileLog {
    rows: Mutex<Rows>,
    writer: Mutex<Writer>,
    _lock: Arc<Lock>,
}

/// The rows at one moment.
#[derive(Debug)]
pub(crate) struct FileLogSnapshot(Rows);

#[derive(Debug)]
struct Writer {
    hint: Hint,
    slots: Slots,
    file_bytes: u64,
    salt: u64,
    slot: Arc<Slot>,
    /// Of the file that is written now.
    number: u64,
    next_number: u64,
    end: usize,
    synced: usize,
    /// What the block has in which the file ends: only whole blocks are written.
    carried: Vec<u8>,
    buffer: Vec<u8>,
    /// A write or a sync failed: nothing is known of what is on the disk.
    failed: bool,
}

impl FileLog {
    /// Opens or makes the log in `dir`, and the hint beside it. What is read is on the disk then.
    /// A database of the log of `group` that is there becomes files of so many bytes.
    pub(crate) fn open(dir: &Path, group: u32, file_bytes: u64) -> Result<Self, StoreError> {
        durable::make_dir(dir)?;
        let lock = Lock::take(dir)?;
        match place::look(dir)? {
            Holds::Files => place::remove_database(dir)?,
            Holds::Nothing => place::take(dir)?,
            #[cfg(feature = "rocksdb")]
            Holds::Database => return convert::convert(dir, group, file_bytes, lock),
            #[cfg(not(feature = "rocksdb"))]
            Holds::Database => {
                let why =
                    format!("the log of group {group} is in a database, which this build has not");
                return Err(StoreError::Refused(why));
            }
        }
        Self::open_locked(dir, file_bytes, lock)
    }

    fn open_locked(dir: &Path, file_bytes: u64, lock: Arc<Lock>) -> Result<Self, StoreError> {
        let hint = Hint::open(&dir.with_extension("hint"))?;
        let (mut slots, found) = Slots::open(dir, file_bytes)?;
        // One may be there that was made when the process ended, and whose name is not on the disk.
        durable::sync_dir(dir)?;
        let salt = recovery::salt(dir, found.is_empty())?;
        let Recovered {
            rows,
            last,
            unused,
            next_number,
        } = recovery::recover(&found, salt)?;
        drop(found);
        let fresh = last.is_none();
        let (slot, number, end) = match last {
            Some(last) => {
                rewrite(&last.slot, last.end)?;
                (last.slot, last.number, last.end)
            }
            None => (Arc::new(slots.make(file_bytes)?), 0, 0),
        };
        // Not before what says that they are not needed is on the disk.
        for slot in unused {
            slots.give_back(slot);
        }
        let mut carried = vec![0; end % BLOCK_BYTES];
        let block = (end - carried.len()) as u64;
        slot.read(&mut carried, block)?;
        let mut writer = Writer {
            hint,
            slots,
            file_bytes,
            salt,
            slot,
            number,
            next_number,
            end,
            synced: end,
            carried,
            buffer: Vec::new(),
            failed: false,
        };
        writer.slots.prepare();
        let rows = Mutex::new(rows);
        if fresh {
            writer.write_round(true, &[], Durability::Now, &rows)?;
        }
        Ok(Self {
            rows,
            writer: Mutex::new(writer),
            _lock: lock,
        })
    }

    pub(crate) fn write(
        &self,
        changes: &[Change],
        durability: Durability,
        ends: Ends,
    ) -> Result<(), StoreError> {
        let writer = &mut *self.writer.lock();
        if std::mem::replace(&mut writer.failed, true) {
            let why = "the log's files cannot be written any more".to_owned();
            return Err(StoreError::Poisoned(why));
        }
        writer.hint.lower(ends.lowest)?;
        writer.write(changes, durability, &self.rows)?;
        failpoint::pass(Point::LogSynced);
        if durability == Durability::Now {
            writer.hint.raise(ends.after)?;
        }
        writer.failed = false;
        Ok(())
    }

    pub(crate) fn check_end(&self, found: Tip) -> Result<(), StoreError> {
        self.writer.lock().hint.tip().check(found)
    }

    pub(crate) fn snapshot(&self) -> FileLogSnapshot {
        FileLogSnapshot(self.rows.lock().clone())
    }

    /// The bytes of the files that are needed: the others, which wait, do not become fewer.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.lock().file_bytes()
    }

    /// Whether what the hint says is not on the disk yet, or a file is being made.
    pub(crate) fn is_unsettled(&self) -> bool {
        let writer = self.writer.lock();
        writer.hint.is_unsynced() || writer.slots.is_making()
    }

    /// Puts it there: from then on damage of the last round is found even after a power failure. And
    /// looks whether a file could be made.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let writer = &mut *self.writer.lock();
        let mut settled = writer.slots.look();
        if settled.is_ok() && writer.hint.is_unsynced() {
            settled = writer.hint.sync();
        }
        writer.failed |= settled.is_err();
        settled
    }
}

impl FileLogSnapshot {
    pub(crate) fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        visit: &mut meta_core::kv::Visit<'_>,
    ) -> Result<(), StoreError> {
        self.0.scan(begin, end, visit)
    }
}

/// Writes a file's records over what it is, and zeros behind them. When a sync failed before the process
/// ended, the system holds as written what never came to the disk, and a sync alone would leave that
/// so. And parts of records that were never whole must not become whole with what is written next.
fn rewrite(slot: &Slot, end: usize) -> Result<(), StoreError> {
    let mut bytes = slot.read_up_to(u64::MAX)?;
    let length = bytes.len().next_multiple_of(BLOCK_BYTES);
    bytes.truncate(end);
    bytes.resize(length, 0);
    slot.write(&bytes, 0)?;
    slot.sync()?;
    slot.forget();
    Ok(())
}

/// A file that was begun with a round, and that the rows do not know yet.
struct Begun {
    slot: Arc<Slot>,
    oldest: u64,
}

impl Writer {
    /// Writes a round with one write and at most one sync, where it needs no new file.
    fn write(
        &mut self,
        changes: &[Change],
        durability: Durability,
        rows: &Mutex<Rows>,
    ) -> Result<(), StoreError> {
        self.slots.look()?;
        let bytes = round_bytes(changes);
        if bytes > ROUND_BYTES_MAX {
            return Err(StoreError::Refused(format!("a round of {bytes} bytes")));
        }
        let fits = self.end + bytes <= self.file_bytes();
        // Files that hold nothing any more are given back when another one is begun.
        let begin = !fits || rows.lock().empty_files() >= EMPTY_FILES_MAX;
        self.write_round(begin, changes, durability, rows)
    }

    fn write_round(
        &mut self,
        in_new_file: bool,
        changes: &[Change],
        durability: Durability,
        rows: &Mutex<Rows>,
    ) -> Result<(), StoreError> {
        let begun = if in_new_file {
            Some(self.begin_file(rows)?)
        } else {
            self.buffer.clone_from(&self.carried);
            None
        };
        let payload = self.put_round(changes)?;
        let offset = self.end - self.carried.len();
        self.write_buffer(offset)?;
        if durability == Durability::Now || begun.is_some() {
            self.sync()?;
        }
        let mut rows = rows.lock();
        let oldest = begun.as_ref().map(|begun| begun.oldest);
        if let Some(begun) = begun {
            rows.begin(self.number, begun.slot);
        }
        let bytes = self.buffer.get(payload.clone()).unwrap_or_default();
        record::operations(bytes, 0, &mut |operation| {
            rows.apply(&operation, bytes, offset + payload.start)
        })?;
        // The first record that no longer needs them is on the disk.
        let retired = oldest.map_or_else(Vec::new, |oldest| rows.retire(oldest));
        drop(rows);
        for slot in retired {
            self.slots.give_back(slot);
        }
        Ok(())
    }

    /// Writes the buffer, which begins with what is carried, and zeros up to the block's end.
    fn write_buffer(&mut self, offset: usize) -> Result<(), StoreError> {
        let length = self.buffer.len();
        self.buffer.resize(length.next_multiple_of(BLOCK_BYTES), 0);
        self.slot.write(&self.buffer, offset as u64)?;
        let block = length - length % BLOCK_BYTES;
        self.carried.clear();
        let rest = self.buffer.get(block..length).unwrap_or_default();
        self.carried.extend_from_slice(rest);
        self.end = offset + length;
        Ok(())
    }

    fn file_bytes(&self) -> usize {
        usize::try_from(self.file_bytes).unwrap_or(usize::MAX)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.synced < self.end {
            self.slot.sync()?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Goes on in another file, and puts its first record into the buffer.
    fn begin_file(&mut self, rows: &Mutex<Rows>) -> Result<Begun, StoreError> {
        // What the first record says about the file before must be so.
        self.sync()?;
        let number = self.next_number;
        let (oldest, marks) = rows.lock().at_begin(number);
        let start = Start {
            previous: self.number,
            previous_end: self.end as u64,
            oldest,
        };
        if self.number > 0 {
            self.slot = self.slots.take()?;
        }
        self.number = number;
        self.next_number += 1;
        (self.end, self.synced) = (0, 0);
        self.carried.clear();
        self.buffer.clear();
        let head = Head {
            kind: Kind::Start,
            number,
            synced: 0,
        };
        record::append(&mut self.buffer, 0, self.salt, head, |out| {
            start.append(out);
            let mut marks = marks.iter();
            marks.try_for_each(|(key, value)| record::append_put(out, key, value))
        })?;
        if self.buffer.len() as u64 > recovery::START_BYTES_MAX {
            return Err(StoreError::Refused("too many marks".to_owned()));
        }
        Ok(Begun {
            slot: Arc::clone(&self.slot),
            oldest,
        })
    }

    /// Puts a round into the buffer. Gives the place of its operations there.
    fn put_round(&mut self, changes: &[Change]) -> Result<Range<usize>, StoreError> {
        if changes.is_empty() {
            return Ok(0..0);
        }
        let head = Head {
            kind: Kind::Round,
            number: self.number,
            synced: self.synced as u64,
        };
        let base = self.end - self.carried.len();
        record::append(&mut self.buffer, base, self.salt, head, |out| {
            let mut changes = changes.iter();
            changes.try_for_each(|change| record::append_change(out, change))
        })
    }
}

/// Bytes of a round in a file, or a little more.
fn round_bytes(changes: &[Change]) -> usize {
    let bytes = changes.iter().map(|change| {
        let (Change::Put(one, other) | Change::DeleteRange(one, other)) = change;
        one.len() + other.len() + OPERATION_BYTES
    });
    record::HEAD_BYTES + bytes.sum::<usize>() + OPERATION_BYTES
}

/// For the room `fuzz`.
pub(crate) fn fuzz_record(bytes: &[u8]) {
    record::fuzz(bytes);
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;
