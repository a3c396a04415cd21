//! The slices of one file that wait for their commit, in the order of the writes.
//!
//! Pure bookkeeping: it decides where a write goes and what may be committed next, and leaves
//! uploads, commits and waiting to others.

use super::budget::Share;
use super::grants::Lot;
use super::handle::HandleId;
use super::slice_buffer::SliceBuffer;
use super::{VfsError, VfsOptions};
use bytes::Bytes;
use meta_core::attr::{Caller, Timestamp};
use meta_core::ids::{ChunkIndex, SessionId, SliceId};
use meta_core::limits::{CHUNK_BYTES, COMMIT_SLICES_MAX, FRAME_BYTES};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Ready slices are committed without being asked for when they are this many bytes together.
const READY_BYTES: u64 = 32 << 20;

/// Where a slice goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// To this byte of this chunk.
    At(ChunkIndex, u32),
    /// To the file's end, wherever that is when the engine applies it.
    End,
}

impl Place {
    /// The file offset, if it is known.
    fn offset(self) -> Option<u64> {
        match self {
            Self::At(chunk, at) => Some(u64::from(chunk.0) * CHUNK_BYTES + u64::from(at)),
            Self::End => None,
        }
    }
}

/// A slice whose blocks are stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) id: SliceId,
    pub(super) lot: Lot,
    pub(super) frame_crcs: Vec<u32>,
}

#[derive(Debug)]
enum Upload {
    /// Too small to begin.
    NotBegun,
    Running,
    Stored(Stored),
    Failed(VfsError),
}

/// One pending slice.
#[derive(Debug)]
pub(super) struct Slice {
    /// Its number in the order of writes to this file, from 1.
    pub(super) number: u64,
    pub(super) place: Place,
    pub(super) buffer: Arc<SliceBuffer>,
    /// The least privileged of those who wrote it: decides what becomes of set-id bits.
    pub(super) caller: Caller,
    /// When it was last written to, by this machine's clock.
    pub(super) written: Timestamp,
    /// The session that it is committed in, or not at all.
    pub(super) under: Option<SessionId>,
    /// When it was begun.
    begun: Instant,
    sealed: bool,
    upload: Upload,
    share: Share,
    _slot: Share,
}

/// A run of bytes to write.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) data: Bytes,
    pub(super) caller: Caller,
    pub(super) now: Timestamp,
    /// The session in which this mount has locks on the file.
    pub(super) under: Option<SessionId>,
    pub(super) share: Share,
}

/// A slice whose upload is to begin.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) number: u64,
    pub(super) buffer: Arc<SliceBuffer>,
}

/// A slice ready for its commit.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) place: Place,
    pub(super) buffer: Arc<SliceBuffer>,
    pub(super) stored: Stored,
}

/// Slices to commit in one command.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) slices: Vec<Ready>,
    pub(super) caller: Caller,
    /// When the newest of them was written.
    pub(super) written: Timestamp,
    /// The session that they are committed in, or not at all.
    pub(super) under: Option<SessionId>,
    pub(super) append: bool,
}

/// How much of a batch there is room for, from its beginning on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fitting {
    /// So many slices as they are.
    pub(super) slices: usize,
    /// So many bytes of the next one.
    pub(super) bytes: u32,
}

impl Fitting {
    /// How much of slices, by place and length, makes a file of `length` bytes no longer than `length_max`.
    fn of(slices: impl Iterator<Item = (Place, u32)>, length: u64, length_max: u64) -> Self {
        let mut fitting = Self {
            slices: 0,
            bytes: 0,
        };
        let mut end = length;
        for (place, len) in slices {
            let begin = place.offset().unwrap_or(end);
            let room = length_max.saturating_sub(begin);
            if u64::from(len) > room {
                // A small record is better refused than torn, and its writer loses no more than that.
                if len > FRAME_BYTES {
                    fitting.bytes = u32::try_from(room).unwrap_or(0);
                }
                return fitting;
            }
            end = begin + u64::from(len);
            fitting.slices += 1;
        }
        fitting
    }
}

impl Batch {
    /// How much of it makes a file of `length` bytes no longer than `length_max`.
    pub(super) fn fitting(&self, length: u64, length_max: u64) -> Fitting {
        let slices = self.slices.iter();
        let slices = slices.map(|slice| (slice.place, slice.buffer.len()));
        Fitting::of(slices, length, length_max)
    }

    /// Whether a part of it could fit where the whole does not.
    pub(super) fn is_divisible(&self) -> bool {
        let mut lens = self.slices.iter().map(|slice| slice.buffer.len());
        self.slices.len() > 1 || lens.any(|len| len > FRAME_BYTES)
    }

    /// Some of its slices alone, which may be cut short.
    pub(super) fn part(&self, slices: Vec<Ready>) -> Self {
        Self {
            slices,
            caller: self.caller.clone(),
            ..*self
        }
    }
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing can or need be done now.
    Rest,
    Commit(Batch),
    /// The oldest slice cannot be stored.
    Fail(VfsError),
}

/// The pending slices of one file.
#[derive(Debug, Default)]
pub(super) struct Pending {
    slices: VecDeque<Slice>,
    /// The number of the newest slice ever begun.
    newest: u64,
    /// Slices up to this one are to be committed as soon as they can.
    wanted: u64,
    /// Handles of which a close has asked since slices were last dropped.
    asked_by_close: BTreeSet<HandleId>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Slice> {
        self.slices.iter()
    }

    /// The number of the newest slice that is committed or dropped, with all before it.
    pub(super) fn settled(&self) -> u64 {
        self.slices
            .front()
            .map_or(self.newest, |slice| slice.number - 1)
    }

    /// Whether slices wait whose place is not known yet.
    pub(super) fn has_appends(&self) -> bool {
        self.slices.iter().any(|slice| slice.place == Place::End)
    }

    /// Bytes of slices whose place is not known yet.
    pub(super) fn append_bytes(&self) -> u64 {
        let appends = self.slices.iter().filter(|slice| slice.place == Place::End);
        appends.map(|slice| u64::from(slice.buffer.len())).sum()
    }

    /// The file offset behind the last byte of slices with a place.
    pub(super) fn end(&self) -> u64 {
        self.slices.iter().filter_map(Slice::end).max().unwrap_or(0)
    }

    /// When the newest write was made.
    pub(super) fn written(&self) -> Option<Timestamp> {
        self.slices.back().map(|slice| slice.written)
    }

    /// Whether the next write at `place` would grow the newest slice.
    pub(super) fn continues(&self, part: &Part, options: &VfsOptions) -> bool {
        let len = u32::try_from(part.data.len()).unwrap_or(u32::MAX);
        self.slices.back().is_some_and(|slice| {
            slice.under == part.under && slice.takes(part.place, len, options.slice_bytes_max)
        })
    }

    /// Takes a write in. `slot` is needed when it does not continue the newest slice, and comes
    /// back otherwise.
    pub(super) fn add(
        &mut self,
        part: Part,
        slot: Option<Share>,
        options: &VfsOptions,
    ) -> Result<Vec<Start>, Box<Part>> {
        let mut starts = Vec::new();
        if self.continues(&part, options) {
            if let Some(slice) = self.slices.back_mut() {
                slice.grow(part);
            }
        } else {
            let Some(slot) = slot else {
                return Err(Box::new(part));
            };
            starts.extend(self.seal());
            self.newest += 1;
            self.slices.push_back(Slice::begin(self.newest, part, slot));
        }
        if let Some(slice) = self.slices.back_mut() {
            let full = slice.is_full(options.slice_bytes_max);
            if full || slice.buffer.len() >= options.block_bytes {
                starts.extend(slice.start());
            }
            if full {
                slice.seal();
            }
        }
        Ok(starts)
    }

    /// No write grows the newest slice any more. Gives it back if its upload is to begin.
    pub(super) fn seal(&mut self) -> Option<Start> {
        let slice = self.slices.back_mut()?;
        slice.seal();
        slice.start()
    }

    /// Asks for the commit of everything so far. Gives the number of the newest slice.
    pub(super) fn want_all(&mut self) -> u64 {
        self.wanted = self.newest;
        self.newest
    }

    /// When the oldest slice was begun.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slices.front().map(|slice| slice.begun)
    }

    /// Notes how an upload ended.
    pub(super) fn uploaded(&mut self, number: u64, result: Result<Stored, VfsError>) {
        let found = self.slices.iter_mut().find(|slice| slice.number == number);
        // A slice that was dropped because an earlier one failed is gone.
        let Some(slice) = found else {
            return;
        };
        match result {
            Ok(stored) => slice.upload = Upload::Stored(stored),
            Err(error) => {
                slice.upload = Upload::Failed(error);
                // What comes before it goes in; then it is told.
                self.wanted = self.wanted.max(number);
            }
        }
    }

    /// What is to be done next.
    pub(super) fn next_step(&self) -> Step {
        match self.slices.front().map(|slice| &slice.upload) {
            Some(Upload::Failed(error)) => Step::Fail(error.clone()),
            Some(Upload::Stored(_)) => match self.batch() {
                Some(batch) => Step::Commit(batch),
                None => Step::Rest,
            },
            Some(Upload::NotBegun | Upload::Running) | None => Step::Rest,
        }
    }

    /// The oldest slices that can go into one command, if it is time for it: when they are many,
    /// or when they are asked for and none that is asked for as well would soon go along.
    fn batch(&self) -> Option<Batch> {
        let front = self.slices.front()?;
        let append = front.place == Place::End;
        let alike =
            |slice: &&Slice| (slice.place == Place::End) == append && slice.under == front.under;
        let run: Vec<(&Slice, Ready)> = self
            .slices
            .iter()
            .take_while(alike)
            .take(COMMIT_SLICES_MAX)
            .map_while(|slice| Some((slice, slice.ready()?)))
            .collect();
        let bytes: u64 = run
            .iter()
            .map(|(slice, _)| u64::from(slice.buffer.len()))
            .sum();
        let next = self.slices.get(run.len()).filter(alike);
        let wanted = |slice: &Slice| slice.number <= self.wanted;
        let waits = next.is_some_and(|next| wanted(next) && next.is_on_its_way());
        let many = run.len() == COMMIT_SLICES_MAX || bytes >= READY_BYTES;
        if !many && (!wanted(front) || waits) {
            return None;
        }
        let caller = run.iter().map(|(slice, _)| &slice.caller);
        let caller = caller
            .clone()
            .find(|caller| !caller.is_root())
            .unwrap_or(&front.caller);
        Some(Batch {
            caller: caller.clone(),
            written: run.iter().map(|(slice, _)| slice.written).max()?,
            under: front.under,
            append,
            slices: run.into_iter().map(|(_, ready)| ready).collect(),
        })
    }

    /// Takes out the oldest `count` slices: they are committed.
    pub(super) fn committed(&mut self, count: usize) {
        self.slices.drain(..count.min(self.slices.len()));
    }

    /// Takes out all slices: they cannot be stored, or come after one that cannot.
    pub(super) fn drop_all(&mut self) -> u64 {
        // None of them knows of this.
        self.asked_by_close.clear();
        let bytes = self
            .slices
            .iter()
            .map(|slice| u64::from(slice.buffer.len()));
        let bytes = bytes.sum();
        for slice in self.slices.drain(..) {
            // An upload that waits for more bytes must end.
            slice.buffer.seal();
        }
        bytes
    }

    /// A descriptor of a handle is closed, and told all that was dropped until now.
    pub(super) fn note_close(&mut self, handle: HandleId) {
        self.asked_by_close.insert(handle);
    }

    /// A handle goes. Says whether its last close was told of everything that was dropped.
    pub(super) fn last_close_was_told(&mut self, handle: HandleId) -> bool {
        self.asked_by_close.remove(&handle)
    }
}

impl Slice {
    fn begin(number: u64, part: Part, slot: Share) -> Self {
        let buffer = Arc::new(SliceBuffer::default());
        buffer.push(&part.data);
        Self {
            number,
            place: part.place,
            buffer,
            caller: part.caller,
            written: part.now,
            under: part.under,
            begun: Instant::now(),
            sealed: false,
            upload: Upload::NotBegun,
            share: part.share,
            _slot: slot,
        }
    }

    fn grow(&mut self, part: Part) {
        self.buffer.push(&part.data);
        self.share.grow(part.share);
        self.written = part.now;
        if self.caller.is_root() {
            self.caller = part.caller;
        }
    }

    fn takes(&self, place: Place, len: u32, max: u32) -> bool {
        let own = self.buffer.len();
        let fits = own.checked_add(len).is_some_and(|sum| sum <= max);
        let follows = match (self.place, place) {
            (Place::End, Place::End) => true,
            (Place::At(chunk, at), Place::At(next_chunk, next_at)) => {
                chunk == next_chunk && at + own == next_at
            }
            (Place::End, Place::At(..)) | (Place::At(..), Place::End) => false,
        };
        !self.sealed && fits && follows
    }

    fn is_full(&self, max: u32) -> bool {
        let own = self.buffer.len();
        let at_border = match self.place {
            Place::At(_, at) => u64::from(at) + u64::from(own) >= CHUNK_BYTES,
            Place::End => false,
        };
        own >= max || at_border
    }

    fn seal(&mut self) {
        if !self.sealed {
            self.sealed = true;
            self.buffer.seal();
        }
    }

    fn start(&mut self) -> Option<Start> {
        if !matches!(self.upload, Upload::NotBegun) {
            return None;
        }
        self.upload = Upload::Running;
        Some(Start {
            number: self.number,
            buffer: Arc::clone(&self.buffer),
        })
    }

    fn ready(&self) -> Option<Ready> {
        match &self.upload {
            Upload::Stored(stored) => Some(Ready {
                place: self.place,
                buffer: Arc::clone(&self.buffer),
                stored: stored.clone(),
            }),
            Upload::NotBegun | Upload::Running | Upload::Failed(_) => None,
        }
    }

    fn is_on_its_way(&self) -> bool {
        matches!(self.upload, Upload::NotBegun | Upload::Running)
    }

    /// The file offset of the first byte, if the place is known.
    pub(super) fn offset(&self) -> Option<u64> {
        self.place.offset()
    }

    fn end(&self) -> Option<u64> {
        Some(self.offset()? + u64::from(self.buffer.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(slices: &[(Place, u32)], length: u64, length_max: u64) -> (usize, u32) {
        let found = Fitting::of(slices.iter().copied(), length, length_max);
        (found.slices, found.bytes)
    }

    #[test]
    fn what_fits_of_slices_is_a_prefix_of_them() {
        let at = |at| Place::At(ChunkIndex(0), at);
        let mib = 1 << 20;
        let slices = [(at(0), mib), (at(2 * mib), mib), (at(0), 10)];
        let whole = u64::from(3 * mib);
        assert_eq!(fitting(&slices, 0, whole), (3, 0));
        // The gap between them counts as well.
        assert_eq!(fitting(&slices, 0, u64::from(2 * mib) + 4096), (1, 4096));
        assert_eq!(fitting(&slices, 0, u64::from(2 * mib)), (1, 0));
        assert_eq!(fitting(&slices, 0, u64::from(mib) / 2), (0, mib / 2));
        assert_eq!(fitting(&slices, 0, 0), (0, 0));
        // What lies within the file needs no room.
        assert_eq!(fitting(&slices, whole, whole), (3, 0));
        let far = [(Place::At(ChunkIndex(3), 8192), mib)];
        assert_eq!(fitting(&far, 0, 3 * CHUNK_BYTES + 8192 + 4096), (0, 4096));
    }

    #[test]
    fn appended_slices_fit_one_after_the_other() {
        let slices = [(Place::End, 100), (Place::End, FRAME_BYTES + 1)];
        let length = 5000;
        assert_eq!(fitting(&slices, length, 8192), (1, 3092));
        assert_eq!(fitting(&slices, length, 5099), (0, 0));
        let all = length + 100 + u64::from(FRAME_BYTES) + 1;
        assert_eq!(fitting(&slices, length, all), (2, 0));
    }

    #[test]
    fn a_small_slice_is_not_cut() {
        let small = [(Place::End, FRAME_BYTES)];
        assert_eq!(fitting(&small, 0, u64::from(FRAME_BYTES) - 1), (0, 0));
    }

    #[test]
    fn a_close_knows_nothing_of_what_is_dropped_after_it() {
        let mut pending = Pending::default();
        let [first, second] = [1, 2].map(HandleId);
        pending.note_close(first);
        pending.note_close(second);
        assert!(pending.last_close_was_told(first));
        assert!(!pending.last_close_was_told(first), "it is gone");
        pending.drop_all();
        assert!(!pending.last_close_was_told(second));
    }
}
