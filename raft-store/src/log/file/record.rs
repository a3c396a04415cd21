//! The bytes of one record of a log file, little-endian, at a multiple of 8 bytes:
//!
//! ```text
//! crc32 u32 | length u32 | kind u8 | zero u8 x 3 | head crc32 u32 | number u64 | synced u64 |
//! payload | zeros up to 8 bytes
//! ```
//!
//! The crc is over the log's salt and then all behind the crc up to the payload's end. The head's is over the
//! salt, the record's place in its file (u64), and the head without both crcs: it is looked at first, and ties
//! the record to its place. The salt keeps bytes that a client chose from being taken for a record; the
//! number is that of the file's life, so that what an earlier life left is no record either. `synced`
//! says up to where the file was on the disk when the record was written: what is before that was perhaps acknowledged.
//!
//! A payload is a row of operations: `1 | key length u8 | key | value length u32 | value` sets one,
//! `2 | begin length u8 | begin | end length u8 | end` removes some. That of a file's first record has
//! `previous u64 | previous end u64 | oldest u64` before them.

use crate::error::StoreError;
use crate::log::disk::Change;
use std::ops::Range;

/// Bytes before the payload.
pub(super) const HEAD_BYTES: usize = 32;
const ALIGNMENT: usize = 8;
/// The unit of writes.
pub(super) const BLOCK_BYTES: usize = 4096;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A file's first.
    Start = 1,
    /// The changes of one round.
    Round = 2,
}

/// A record that checks out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) synced: u64,
    /// Where the payload lies in the bytes that were looked at.
    pub(super) payload: Range<usize>,
    /// Where the next record begins.
    pub(super) end: usize,
}

/// What the first record says beside the marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Start {
    /// The number of the file before, 0 if there is none.
    pub(super) previous: u64,
    /// Where the last record of the file before ends.
    pub(super) previous_end: u64,
    /// The first file that is needed.
    pub(super) oldest: u64,
}

/// One operation of a payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operation<'a> {
    Put {
        key: &'a [u8],
        /// Where the value lies in the payload.
        value: Range<usize>,
    },
    Delete {
        begin: &'a [u8],
        end: &'a [u8],
    },
}

/// What a record's head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) synced: u64,
}

/// Writes a record behind `out`, which lies at `base` of its file; both are multiples of 8. Gives the
/// payload's place in `out`.
pub(super) fn append(
    out: &mut Vec<u8>,
    base: usize,
    salt: u64,
    head: Head,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
) -> Result<Range<usize>, StoreError> {
    let begin = out.len();
    out.resize(begin + HEAD_BYTES, 0);
    payload(out)?;
    let end = out.len();
    let length = u32::try_from(end - begin - HEAD_BYTES)
        .map_err(|_over| StoreError::Refused("a round of the log is too large".to_owned()))?;
    let mut bytes = [0; HEAD_BYTES];
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8] = head.kind as u8;
    bytes[16..24].copy_from_slice(&head.number.to_le_bytes());
    bytes[24..].copy_from_slice(&head.synced.to_le_bytes());
    let head_crc = head_crc(salt, base + begin, &bytes);
    bytes[12..16].copy_from_slice(&head_crc.to_le_bytes());
    out[begin..begin + HEAD_BYTES].copy_from_slice(&bytes);
    let crc = crc(salt, &out[begin + 4..end]);
    out[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(end.next_multiple_of(ALIGNMENT), 0);
    Ok(begin + HEAD_BYTES..end)
}

fn crc(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn head_crc(salt: u64, at: usize, head: &[u8; HEAD_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(&head[4..12]);
    hasher.update(&head[16..]);
    hasher.finalize()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*found))
}

/// The record at `at` of a file's bytes, if there is a whole one.
pub(super) fn read(bytes: &[u8], at: usize, salt: u64) -> Option<Record> {
    let head = bytes.get(at..)?.first_chunk::<HEAD_BYTES>()?;
    let [
        c0,
        c1,
        c2,
        c3,
        l0,
        l1,
        l2,
        l3,
        kind,
        _,
        _,
        _,
        h0,
        h1,
        h2,
        h3,
        ..,
    ] = *head;
    if head_crc(salt, at, head) != u32::from_le_bytes([h0, h1, h2, h3]) {
        return None;
    }
    let kind = match kind {
        1 => Kind::Start,
        2 => Kind::Round,
        _ => return None,
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let end = at.checked_add(HEAD_BYTES)?.checked_add(length)?;
    let checked = bytes.get(at + 4..end)?;
    if crc(salt, checked) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    Some(Record {
        kind,
        number: u64_at(head, 16)?,
        synced: u64_at(head, 24)?,
        payload: at + HEAD_BYTES..end,
        end: end.next_multiple_of(ALIGNMENT),
    })
}

/// The records behind `from` whose number `wanted` accepts, wherever one begins.
pub(super) fn search(
    bytes: &[u8],
    from: usize,
    salt: u64,
    wanted: impl Fn(u64) -> bool,
) -> impl Iterator<Item = Record> {
    let from = from.next_multiple_of(ALIGNMENT);
    let places = (from..bytes.len().saturating_sub(HEAD_BYTES - 1)).step_by(ALIGNMENT);
    places.filter_map(move |at| {
        let number = u64_at(bytes, at + 16)?;
        if number == 0 || !wanted(number) {
            return None;
        }
        read(bytes, at, salt)
    })
}

impl Start {
    pub(super) fn append(self, out: &mut Vec<u8>) {
        for field in [self.previous, self.previous_end, self.oldest] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    /// Reads it from a payload, and says where the operations begin.
    pub(super) fn read(payload: &[u8]) -> Option<(Self, usize)> {
        let start = Self {
            previous: u64_at(payload, 0)?,
            previous_end: u64_at(payload, 8)?,
            oldest: u64_at(payload, 16)?,
        };
        Some((start, 24))
    }
}

fn append_short(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), StoreError> {
    let length = u8::try_from(bytes.len())
        .map_err(|_over| StoreError::Refused("a key of the log is too long".to_owned()))?;
    out.push(length);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Adds a change to a payload.
pub(super) fn append_change(out: &mut Vec<u8>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Put(key, value) => append_put(out, key, value),
        Change::DeleteRange(begin, end) => {
            out.push(DELETE);
            append_short(out, begin)?;
            append_short(out, end)
        }
    }
}

/// Adds a row to a payload.
pub(super) fn append_put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    out.push(PUT);
    append_short(out, key)?;
    let length = u32::try_from(value.len())
        .map_err(|_over| StoreError::Refused("a value of the log is too large".to_owned()))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// Calls `visit` for each operation of a payload, from `at` on.
pub(super) fn operations<'a>(
    payload: &'a [u8],
    mut at: usize,
    visit: &mut dyn FnMut(Operation<'a>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unknown = || StoreError::damaged("log", "an operation in a record is unknown here");
    let short = |at: usize| {
        let length = usize::from(*payload.get(at)?);
        Some((payload.get(at + 1..at + 1 + length)?, at + 1 + length))
    };
    while let Some(kind) = payload.get(at) {
        let (first, next) = short(at + 1).ok_or_else(unknown)?;
        if *kind == PUT {
            let length = payload.get(next..).and_then(<[u8]>::first_chunk);
            let length = u32::from_le_bytes(*length.ok_or_else(unknown)?) as usize;
            let value = next + 4..next + 4 + length;
            payload.get(value.clone()).ok_or_else(unknown)?;
            at = value.end;
            visit(Operation::Put { key: first, value })?;
        } else if *kind == DELETE {
            let (end, next) = short(next).ok_or_else(unknown)?;
            at = next;
            visit(Operation::Delete { begin: first, end })?;
        } else {
            return Err(unknown());
        }
    }
    Ok(())
}

/// Reads bytes as what is in a file, and as the payload of a record that is whole, for fuzzing.
///
/// # Panics
/// If what was read does not come back.
pub(super) fn fuzz(bytes: &[u8]) {
    const SALT: u64 = 0x5a17;
    let _none = search(bytes, 0, SALT, |_| true).count();
    let head = Head {
        kind: Kind::Round,
        number: 3,
        synced: 8,
    };
    let mut file = Vec::new();
    let payload = append(&mut file, 0, SALT, head, |out| {
        out.extend_from_slice(bytes);
        Ok(())
    });
    let payload = payload.expect("bytes fit into a record");
    let record = read(&file, 0, SALT).expect("what was written can be read");
    assert_eq!((record.payload, record.number), (payload, 3));
    for begin in [0, Start::read(bytes).map_or(0, |(_, begin)| begin)] {
        let mut again = bytes.get(..begin).unwrap_or_default().to_vec();
        let read = operations(bytes, begin, &mut |operation| match operation {
            Operation::Put { key, value } => {
                append_put(&mut again, key, bytes.get(value).unwrap_or_default())
            }
            Operation::Delete { begin, end } => {
                let change = Change::DeleteRange(begin.to_vec(), end.to_vec());
                append_change(&mut again, &change)
            }
        });
        if read.is_ok() {
            assert_eq!(again, bytes);
        }
    }
}
