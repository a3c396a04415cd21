//! Which rows there are, and where: of entries the places in their files, of marks the values.

use super::record::Operation;
use super::slot::Slot;
use crate::error::StoreError;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// The key of an entry. A mark's is longer, and lies behind those of all entries.
type EntryKey = [u8; 12];
/// Values that lie near each other are read together, up to so many bytes.
const READ_BYTES_MAX: usize = 256 << 10;

/// Where an entry's value lies in its file.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: EntryKey,
    offset: u32,
    length: u32,
}

impl Place {
    fn bytes(&self) -> Range<u64> {
        let begin = u64::from(self.offset);
        begin..begin + u64::from(self.length)
    }
}

/// One life of a file, and the entries in it by key.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) slot: Arc<Slot>,
    places: Vec<Place>,
}

/// Marks and their values.
pub(super) type Marks = BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows. A clone stays as it is, and keeps its files from being written over.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    segments: VecDeque<Arc<Segment>>,
    marks: Arc<Marks>,
}

impl Rows {
    /// Begins a segment behind the others.
    pub(super) fn begin(&mut self, number: u64, slot: Arc<Slot>) {
        self.segments.push_back(Arc::new(Segment {
            number,
            slot,
            places: Vec::new(),
        }));
    }

    /// What a file that is begun has to say: the first file that holds an entry, which without any is itself,
    /// and all marks.
    pub(super) fn at_begin(&self, number: u64) -> (u64, Arc<Marks>) {
        let mut holding = self.segments.iter().filter(|one| !one.places.is_empty());
        let oldest = holding.next().map_or(number, |one| one.number);
        (oldest, Arc::clone(&self.marks))
    }

    /// How many files before the last one come before the first that holds an entry.
    pub(super) fn empty_files(&self) -> usize {
        let before_last = self.segments.iter().rev().skip(1).rev();
        before_last.take_while(|one| one.places.is_empty()).count()
    }

    /// The bytes of the files that hold an entry.
    pub(super) fn file_bytes(&self) -> u64 {
        let holding = self.segments.iter().filter(|one| !one.places.is_empty());
        holding.map(|one| one.bytes()).sum()
    }

    /// Takes out the segments before `oldest`.
    pub(super) fn retire(&mut self, oldest: u64) -> Vec<Arc<Slot>> {
        let mut retired = Vec::new();
        while let Some(front) = self.segments.front()
            && front.number < oldest
        {
            retired.extend(self.segments.pop_front().map(|one| Arc::clone(&one.slot)));
        }
        retired
    }

    /// Makes an operation of the last segment. Its payload lies at `offset` of the file.
    pub(super) fn apply(
        &mut self,
        operation: &Operation<'_>,
        payload: &[u8],
        offset: usize,
    ) -> Result<(), StoreError> {
        match operation {
            Operation::Delete { begin, end } => self.delete(begin, end),
            Operation::Put { key, value } => match EntryKey::try_from(*key) {
                Ok(entry) => self.put_entry(entry, offset, value)?,
                Err(_longer) => {
                    let value = payload.get(value.clone()).unwrap_or_default();
                    Arc::make_mut(&mut self.marks).insert(key.to_vec(), value.to_vec());
                }
            },
        }
        Ok(())
    }

    fn put_entry(
        &mut self,
        key: EntryKey,
        offset: usize,
        value: &Range<usize>,
    ) -> Result<(), StoreError> {
        let refused = |why: &str| StoreError::damaged("log", why.to_owned());
        let mut known = self.segments.iter().rev();
        if known
            .find_map(|one| one.places.last())
            .is_some_and(|last| last.key >= key)
        {
            return Err(refused("an entry lies behind a later one"));
        }
        let over = |_over| refused("a file is too long");
        let place = Place {
            key,
            offset: u32::try_from(offset + value.start).map_err(over)?,
            length: u32::try_from(value.len()).map_err(over)?,
        };
        let last = self.segments.back_mut();
        let last = last.ok_or_else(|| refused("an entry lies in no file"))?;
        Arc::make_mut(last).places.push(place);
        Ok(())
    }

    fn delete(&mut self, begin: &[u8], end: &[u8]) {
        if begin >= end {
            return;
        }
        for segment in &mut self.segments {
            let gone = segment.within(begin, end);
            if !gone.is_empty() {
                Arc::make_mut(segment).places.drain(gone);
            }
        }
        let gone = self.marks.range(begin.to_vec()..end.to_vec());
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            Arc::make_mut(&mut self.marks).remove(&key);
        }
    }

    /// Calls `visit` for the rows with `begin <= key < end`, in key order, until it breaks.
    pub(super) fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        visit: &mut meta_core::kv::Visit<'_>,
    ) -> Result<(), StoreError> {
        for segment in &self.segments {
            let places = segment.places.get(segment.within(begin, end));
            if segment.scan(places.unwrap_or_default(), visit)?.is_break() {
                return Ok(());
            }
        }
        if begin >= end {
            return Ok(());
        }
        for (key, value) in self.marks.range(begin.to_vec()..end.to_vec()) {
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Segment {
    /// From the file's begin to the end of the last entry in it.
    fn bytes(&self) -> u64 {
        self.places.last().map_or(0, |last| last.bytes().end)
    }

    fn within(&self, begin: &[u8], end: &[u8]) -> Range<usize> {
        let places = &self.places;
        let from = places.partition_point(|place| &place.key[..] < begin);
        let upto = places.partition_point(|place| &place.key[..] < end);
        from..upto.max(from)
    }

    fn scan(
        &self,
        mut places: &[Place],
        visit: &mut meta_core::kv::Visit<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut bytes = Vec::new();
        while let Some(first) = places.first() {
            let begin = first.bytes().start;
            let near = |place: &Place| place.bytes().end - begin <= READ_BYTES_MAX as u64;
            let count = places.partition_point(near).max(1);
            let (together, rest) = places.split_at(count);
            let end = together.last().unwrap_or(first).bytes().end;
            let length = usize::try_from(end - begin).unwrap_or(usize::MAX);
            bytes.resize(length, 0);
            self.slot.read(&mut bytes, begin)?;
            for place in together {
                let at = usize::try_from(place.bytes().start - begin).unwrap_or(usize::MAX);
                let value = bytes.get(at..at + place.length as usize);
                if visit(&place.key, value.unwrap_or_default()).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            places = rest;
        }
        Ok(ControlFlow::Continue(()))
    }
}
