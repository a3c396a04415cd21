//! What the log's readers, its writer thread and openraft's core share.

use super::disk::{LogDisk, LogSnapshot};
use super::entry;
use super::image::{Image, LogStart};
use crate::error::StoreError;
use crate::fault::Faults;
use crate::poison::Poison;
use crate::types::{Entry, LogId, Vote};
use crate::wire::{self, CommittedMark, Message};
use parking_lot::Mutex;
use std::ops::{ControlFlow, Range};

/// Where the log begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LogBounds {
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) entries: u64,
}

/// A mark beside the entries. Its key lies behind that of every entry:
/// `group u32 BE | 8 bytes 0xff | tag`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mark {
    /// The vote.
    Vote = 1,
    /// The last entry known to be committed.
    Committed = 2,
    /// Where the log begins.
    Start = 3,
}

impl Mark {
    pub(crate) fn key(self, group: u32) -> Vec<u8> {
        let mut key = entry::key(group, u64::MAX);
        key.push(self as u8);
        key
    }
}

/// One group's log.
#[derive(Debug)]
pub(crate) struct LogShared {
    pub(crate) disk: LogDisk,
    pub(crate) group: u32,
    pub(crate) image: Mutex<Image>,
    pub(crate) poison: Poison,
    pub(crate) faults: Faults,
}

impl LogShared {
    /// Reads the whole log: every crc, and that nothing is missing between its ends.
    pub(crate) fn load(
        disk: LogDisk,
        group: u32,
        tail_bytes_max: usize,
        poison: Poison,
        faults: Faults,
    ) -> Result<Self, StoreError> {
        let image = load_image(&disk, group, tail_bytes_max)?;
        disk.check_end(image.tip())?;
        let image = Mutex::new(image);
        Ok(Self {
            disk,
            group,
            image,
            poison,
            faults,
        })
    }

    pub(crate) fn bounds(&self) -> LogBounds {
        let image = self.image.lock();
        let indexes = image.indexes();
        LogBounds {
            purged: image.start.purged,
            last: image.last,
            entries: indexes.end - indexes.start,
        }
    }

    /// The entries of `range` that the log has, if all of them are in memory.
    pub(crate) fn read_recent(&self, range: &Range<u64>) -> Result<Option<Vec<Entry>>, StoreError> {
        self.poison.check()?;
        let image = self.image.lock();
        let (below, recent) = image.split(&clamp(range, &image.indexes()));
        Ok(below.is_empty().then_some(recent))
    }

    /// The entries of `range` that the log has, from the disk where needed: about `bytes_max`
    /// of them, but at least one. A gap, a wrong crc or a failed read stops the store.
    pub(crate) fn read(
        &self,
        range: &Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.poison.check()?;
        // The rows are pinned while the image is held still, so that what the image says is on
        // the disk is there, whatever is truncated or purged meanwhile.
        let (below, recent, rows) = {
            let image = self.image.lock();
            let (below, recent) = image.split(&clamp(range, &image.indexes()));
            if below.is_empty() {
                return Ok(recent);
            }
            (below, recent, self.disk.snapshot())
        };
        let mut entries = Vec::new();
        let mut room = bytes_max;
        let mut next = below.start;
        let scanned = scan_entries(&rows, self.group, below.clone(), &mut |entry, bytes| {
            if entry.log_id.index != next {
                return Err(format!(
                    "entry {} where {next} was expected",
                    entry.log_id.index
                ));
            }
            next += 1;
            room = room.saturating_sub(bytes);
            entries.push(entry);
            Ok(if room == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        });
        self.poison.guard(scanned)?;
        if room == 0 {
            return Ok(entries);
        }
        if next != below.end {
            let missing = StoreError::damaged("log", format!("entry {next} is missing"));
            return self.poison.guard(Err(missing));
        }
        entries.extend(recent);
        Ok(entries)
    }
}

/// The image of the log on the disk, with as much of its end as the tail may hold.
fn load_image(disk: &LogDisk, group: u32, tail_bytes_max: usize) -> Result<Image, StoreError> {
    let mut image = Image::new(tail_bytes_max);
    let rows = disk.snapshot();
    image.vote = read_mark::<Vote>(&rows, Mark::Vote.key(group))?;
    image.committed =
        read_mark::<CommittedMark>(&rows, Mark::Committed.key(group))?.and_then(|mark| mark.0);
    let start = read_mark::<LogStart>(&rows, Mark::Start.key(group))?;
    image.start = start.unwrap_or_default();
    image.last = image.start.purged;
    let ticket = image.issue();
    image.complete(ticket);
    let mut next = image.start.first;
    scan_entries(&rows, group, 0..u64::MAX, &mut |entry, bytes| {
        let index = entry.log_id.index;
        if index != next || start.is_none() {
            return Err(format!("entry {index} where {next} was expected"));
        }
        next += 1;
        image.push(entry, bytes, ticket)?;
        // Keeps the tail within its bound while the log streams by.
        image.complete(ticket);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(image)
}

fn clamp(range: &Range<u64>, within: &Range<u64>) -> Range<u64> {
    let start = range.start.clamp(within.start, within.end);
    start..range.end.clamp(start, within.end)
}

fn read_mark<M: Message>(rows: &LogSnapshot<'_>, key: Vec<u8>) -> Result<Option<M>, StoreError> {
    let Some(bytes) = rows.get(&key)? else {
        return Ok(None);
    };
    let mark = wire::decode(&bytes);
    mark.map(Some)
        .map_err(|error| StoreError::damaged("mark in the log", error.to_string()))
}

/// Calls `visit` with each entry in `range` and its size.
fn scan_entries(
    rows: &LogSnapshot<'_>,
    group: u32,
    range: Range<u64>,
    visit: &mut dyn FnMut(Entry, usize) -> Result<ControlFlow<()>, String>,
) -> Result<(), StoreError> {
    let (begin, end) = (entry::key(group, range.start), entry::key(group, range.end));
    if begin >= end {
        return Ok(());
    }
    let mut outcome = Ok(());
    rows.scan(&begin, &end, &mut |key, value| {
        let visited = match entry::key_index(key) {
            Some(index) => entry::decode(index, value)
                .map_err(|why| format!("entry {index}: {why}"))
                .and_then(|entry| visit(entry, value.len())),
            None => Err(String::from("a key has the wrong length")),
        };
        match visited {
            Ok(flow) => flow,
            Err(why) => {
                outcome = Err(StoreError::damaged("log", why));
                ControlFlow::Break(())
            }
        }
    })?;
    outcome
}
