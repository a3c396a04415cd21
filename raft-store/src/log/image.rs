//! What the log is once every queued write is done.

use super::hint::Tip;
use crate::types::{Entry, LogId, Vote};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;

/// Where the log begins. Stored, so that a lost first entry is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LogStart {
    /// The last entry that was removed because the state holds it.
    pub(crate) purged: Option<LogId>,
    /// The index of the first entry there is, or will be.
    pub(crate) first: u64,
}

/// Numbers queued writes: higher is later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Ticket(pub(crate) u64);

/// A recent entry.
#[derive(Clone, Debug)]
struct Recent {
    entry: Entry,
    bytes: usize,
    ticket: Ticket,
}

/// The log's bounds and marks, and its newest entries.
///
/// The tail reaches up to the last entry without a gap. An entry leaves its front only when the
/// write it came with is done, so that below the tail everything is on the disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) start: LogStart,
    pub(crate) last: Option<LogId>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    tail: VecDeque<Recent>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    issued: Ticket,
    done: Ticket,
}

impl Image {
    pub(crate) fn new(tail_bytes_max: usize) -> Self {
        Self {
            start: LogStart::default(),
            last: None,
            vote: None,
            committed: None,
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_max,
            issued: Ticket::default(),
            done: Ticket::default(),
        }
    }

    /// The ticket of the next write.
    pub(crate) fn issue(&mut self) -> Ticket {
        self.issued.0 += 1;
        self.issued
    }

    /// All writes up to `ticket` are done.
    pub(crate) fn complete(&mut self, ticket: Ticket) {
        self.done = self.done.max(ticket);
        self.trim();
    }

    /// Where the log ends.
    pub(crate) fn tip(&self) -> Tip {
        let vote_term = self.vote.map_or(0, |vote| vote.leader_id.term);
        Tip {
            last: self.last,
            vote_term,
        }
    }

    /// The indexes of the entries there are.
    pub(crate) fn indexes(&self) -> Range<u64> {
        match self.last {
            Some(last) => self.start.first..(last.index + 1).max(self.start.first),
            None => self.start.first..self.start.first,
        }
    }

    /// Adds an entry, which must follow the last one. In a log that never had an entry, it may be
    /// any. `bytes` is its size.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        bytes: usize,
        ticket: Ticket,
    ) -> Result<(), String> {
        let index = entry.log_id.index;
        match self.last {
            Some(last) if index != last.index + 1 => {
                return Err(format!(
                    "entry {index} does not follow the last, {}",
                    last.index
                ));
            }
            Some(last) if entry.log_id < last => {
                return Err(format!(
                    "entry {} has an older term than {last}",
                    entry.log_id
                ));
            }
            Some(_) => {}
            None => self.start.first = index,
        }
        self.last = Some(entry.log_id);
        self.tail_bytes += bytes;
        self.tail.push_back(Recent {
            entry,
            bytes,
            ticket,
        });
        Ok(())
    }

    /// Removes the entries behind `after`. Gives the indexes that are gone.
    pub(crate) fn truncate(&mut self, after: Option<LogId>) -> Range<u64> {
        let before = self.indexes();
        let keep = after.map_or(before.start, |id| (id.index + 1).max(before.start));
        while self
            .tail
            .back()
            .is_some_and(|recent| recent.entry.log_id.index >= keep)
            && let Some(gone) = self.tail.pop_back()
        {
            self.tail_bytes -= gone.bytes;
        }
        if keep < before.end {
            self.last = if keep == before.start {
                self.start.purged
            } else {
                after
            };
        }
        keep..before.end.max(keep)
    }

    /// Removes the entries up to `upto`, even if the log does not reach that far. Gives the
    /// indexes that are gone, or nothing if they were before.
    pub(crate) fn purge(&mut self, upto: LogId) -> Option<Range<u64>> {
        if self
            .start
            .purged
            .is_some_and(|purged| upto.index <= purged.index)
        {
            return None;
        }
        let gone = self.start.first..(upto.index + 1).max(self.start.first);
        self.start = LogStart {
            purged: Some(upto),
            first: upto.index + 1,
        };
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        while self
            .tail
            .front()
            .is_some_and(|recent| recent.entry.log_id.index <= upto.index)
        {
            self.pop_front();
        }
        Some(gone)
    }

    /// Splits a range into what must be read from the disk and the entries in memory. `range`
    /// must lie within [`Self::indexes`].
    pub(crate) fn split(&self, range: &Range<u64>) -> (Range<u64>, Vec<Entry>) {
        let tail_first = match self.tail.front() {
            Some(recent) => recent.entry.log_id.index,
            None => range.end,
        };
        let middle = tail_first.clamp(range.start, range.end);
        let skip = usize::try_from(middle.saturating_sub(tail_first)).unwrap_or(usize::MAX);
        let take = usize::try_from(range.end - middle).unwrap_or(usize::MAX);
        let recent = self
            .tail
            .iter()
            .skip(skip)
            .take(take)
            .map(|recent| recent.entry.clone());
        (range.start..middle, recent.collect())
    }

    fn trim(&mut self) {
        while self.tail_bytes > self.tail_bytes_max
            && self
                .tail
                .front()
                .is_some_and(|recent| recent.ticket <= self.done)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(gone) = self.tail.pop_front() {
            self.tail_bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
