//! Records on their way from the stream into commands.

use meta_core::changelog::{RecordKind, SealedRecord};
use meta_core::ids::{Level, Seq};
use meta_core::limits::{MIRROR_BYTES_MAX, MIRROR_RECORDS_MAX};
use meta_core::outcome::StopReason;

/// Records for the next command: without a gap or a repeat, bounded, and with a mark only at the
/// end, because nodes keep a view of the rows as they are right after a mark.
#[derive(Debug)]
pub(super) struct Batch {
    /// The next record.
    next: Seq,
    records: Vec<SealedRecord>,
    bytes: usize,
    /// The highest level of them.
    level: Level,
    marked: bool,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// It is in the batch.
    Taken,
    /// The stream is wrong here.
    Wrong(StopReason),
}

impl Batch {
    /// An empty batch; the record `next` comes first.
    pub(super) fn new(next: Seq) -> Self {
        Self {
            next,
            records: Vec::new(),
            bytes: 0,
            level: Level(0),
            marked: false,
        }
    }

    /// The record that comes next.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it must be proposed before `record` can be taken.
    pub(super) fn is_full(&self, record: &SealedRecord) -> bool {
        self.marked
            || self.records.len() >= MIRROR_RECORDS_MAX
            || (self.bytes + record.body.len() > MIRROR_BYTES_MAX && !self.records.is_empty())
    }

    /// Takes a record. What cannot be read goes in too: the replicated state stops at it by its
    /// own rules.
    pub(super) fn push(&mut self, record: SealedRecord) -> Pushed {
        if record.is_intact()
            && let Ok(read) = proto::codec::decode_record(&record.body)
        {
            if read.seq > self.next {
                return Pushed::Wrong(StopReason::Gap);
            }
            if read.seq < self.next {
                return Pushed::Wrong(StopReason::Repeat);
            }
            self.marked = read.kind == RecordKind::Mark;
            self.level = self.level.max(read.level);
        } else {
            // Nothing behind it is of use.
            self.marked = true;
        }
        self.next = Seq(self.next.0 + 1);
        self.bytes += record.body.len();
        self.records.push(record);
        Pushed::Taken
    }

    /// The records and the highest level of them; the batch is empty then.
    pub(super) fn take(&mut self) -> (Vec<SealedRecord>, Level) {
        self.bytes = 0;
        self.marked = false;
        let level = std::mem::replace(&mut self.level, Level(0));
        (std::mem::take(&mut self.records), level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::Timestamp;
    use meta_core::changelog::Record;
    use meta_core::ids::{Epoch, Uuid};

    fn record(seq: u64, kind: RecordKind) -> SealedRecord {
        of_level(1, seq, kind)
    }

    fn of_level(level: u32, seq: u64, kind: RecordKind) -> SealedRecord {
        SealedRecord::seal(proto::codec::encode_record(&Record {
            cluster: Uuid([1; 16]),
            volume: Uuid([2; 16]),
            epoch: Epoch(0),
            seq: Seq(seq),
            level: Level(level),
            previous_crc: 0,
            kind,
            stamp: Timestamp::default(),
            changes: Vec::new(),
        }))
    }

    #[test]
    fn a_gap_and_a_repeat_are_seen() {
        let mut batch = Batch::new(Seq(5));
        assert_eq!(batch.push(record(5, RecordKind::Change)), Pushed::Taken);
        let gap = batch.push(record(7, RecordKind::Change));
        assert_eq!(gap, Pushed::Wrong(StopReason::Gap));
        let repeat = batch.push(record(5, RecordKind::Change));
        assert_eq!(repeat, Pushed::Wrong(StopReason::Repeat));
        assert_eq!(batch.take().0.len(), 1);
        assert_eq!(batch.next(), Seq(6));
    }

    #[test]
    fn a_batch_has_the_highest_level_of_its_records() {
        let mut batch = Batch::new(Seq(1));
        for (seq, level) in [(1, 1), (2, 3), (3, 2)] {
            let taken = batch.push(of_level(level, seq, RecordKind::Change));
            assert_eq!(taken, Pushed::Taken);
        }
        assert_eq!(batch.take().1, Level(3));
        assert_eq!(batch.take().1, Level(0));
    }

    #[test]
    fn a_mark_and_a_damaged_record_end_the_batch() {
        let mut batch = Batch::new(Seq(1));
        let next = record(3, RecordKind::Change);
        assert_eq!(batch.push(record(1, RecordKind::Change)), Pushed::Taken);
        assert!(!batch.is_full(&next));
        assert_eq!(batch.push(record(2, RecordKind::Mark)), Pushed::Taken);
        assert!(batch.is_full(&next));
        assert_eq!(batch.take().0.len(), 2);
        let mut damaged = next.clone();
        damaged.crc ^= 1;
        assert_eq!(batch.push(damaged), Pushed::Taken);
        assert!(batch.is_full(&next));
    }

    #[test]
    fn a_batch_is_bounded_and_takes_one_record_of_any_size() {
        let mut batch = Batch::new(Seq(1));
        let huge = SealedRecord::seal(vec![0; MIRROR_BYTES_MAX + 1]);
        assert!(!batch.is_full(&huge));
        for seq in 1..=MIRROR_RECORDS_MAX as u64 {
            let record = record(seq, RecordKind::Change);
            assert!(!batch.is_full(&record), "{seq}");
            assert_eq!(batch.push(record), Pushed::Taken);
        }
        assert!(batch.is_full(&record(9999, RecordKind::Change)));
        assert!(batch.is_full(&huge));
    }
}
