//! Reads the files, and tells a write that never ended from damage.
//!
//! Where a file's records stop checking out at a place, a later record of the same life that says that
//! all up to behind that place was on the disk shows that it was: that is damage. Without one,
//! the write there was the last, or one of the last that nobody had been told of; what the hint beside the log
//! says is checked by whoever opens it. A file that has a successor must check out up to where that
//! one says it ends.

use super::record::{self, Kind, Operation, Record, Start};
use super::rows::Rows;
use super::slot::Slot;
use crate::durable;
use crate::error::StoreError;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What must hold a file's first record: only marks are in it.
pub(super) const START_BYTES_MAX: u64 = 4096;

/// What the files hold.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) rows: Rows,
    pub(super) last: Option<Last>,
    /// Files that may be written over.
    pub(super) unused: Vec<Arc<Slot>>,
    pub(super) next_number: u64,
}

/// The file that was written last.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) slot: Arc<Slot>,
    pub(super) number: u64,
    pub(super) end: usize,
}

fn damaged(slot: &Slot, why: &str) -> StoreError {
    StoreError::damaged("log", format!("{}: {why}", slot.name()))
}

/// The version of everything in the directory.
const FORMAT_VERSION: u8 = 1;

/// The file with the log's salt: `version u8 | zero u8 x 7 | salt u64 | crc32 u32`.
fn encode_salt(salt: u64) -> Vec<u8> {
    let mut bytes = vec![FORMAT_VERSION, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode_salt(bytes: &[u8]) -> Result<u64, StoreError> {
    let refused = |why: String| StoreError::damaged("log", why);
    let whole = bytes.split_last_chunk::<4>();
    let whole = whole.filter(|(body, crc)| crc32fast::hash(body).to_le_bytes() == **crc);
    let (body, _) = whole.ok_or_else(|| refused("the file salt is not whole".to_owned()))?;
    match body {
        [FORMAT_VERSION, 0, 0, 0, 0, 0, 0, 0, salt @ ..] => {
            let salt = <[u8; 8]>::try_from(salt);
            let salt = salt.map_err(|_other| refused("the file salt is not whole".to_owned()))?;
            Ok(u64::from_le_bytes(salt))
        }
        [version, ..] => Err(refused(format!(
            "version {version} is unknown here; upgrade this node"
        ))),
        [] => Err(refused("the file salt is empty".to_owned())),
    }
}

/// The log's salt, which is made in a log without files.
pub(super) fn salt(dir: &Path, fresh: bool) -> Result<u64, StoreError> {
    let path = dir.join("salt");
    match fs::read(&path) {
        Ok(bytes) => decode_salt(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => {
            let salt = rand::random();
            durable::replace_file(&path, &encode_salt(salt))?;
            Ok(salt)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "the file salt is missing beside files".to_owned();
            Err(StoreError::damaged("log", why))
        }
        Err(error) => Err(StoreError::file("read", &path)(error)),
    }
}

/// Reads all that is needed.
pub(super) fn recover(found: &[Arc<Slot>], salt: u64) -> Result<Recovered, StoreError> {
    let (mut known, mut headless) = (BTreeMap::new(), Vec::new());
    for slot in found {
        match start(slot, salt)? {
            Some((number, start)) => {
                if known.insert(number, (Arc::clone(slot), start)).is_some() {
                    return Err(damaged(slot, "another file has its number"));
                }
            }
            None => headless.push(Arc::clone(slot)),
        }
    }
    let last_number = known.keys().next_back().copied().unwrap_or_default();
    // Not the one that a file has had of which nothing whole is left.
    let skipped = 1 + u64::from(rand::random::<u32>());
    let next_number = unfinished(&headless, salt, last_number)?.saturating_add(skipped);
    let chain = chain(&mut known, last_number)?;
    let mut rows = Rows::default();
    let mut last = None;
    for Needed { slot, number, end } in chain {
        rows.begin(number, Arc::clone(&slot));
        let read = replay(&mut rows, &slot, number, salt)?;
        match end {
            Some(end) if end != read.end as u64 => {
                return Err(damaged(&slot, "it ends before its last record"));
            }
            Some(_) => {}
            None => last = Some(read),
        }
    }
    let unused = known.into_values().map(|(slot, _)| slot);
    Ok(Recovered {
        rows,
        last,
        unused: unused.chain(headless).collect(),
        next_number,
    })
}

/// What a file's first record says, if there is one.
fn start(slot: &Slot, salt: u64) -> Result<Option<(u64, Start)>, StoreError> {
    let bytes = slot.read_up_to(START_BYTES_MAX)?;
    let first = record::read(&bytes, 0, salt).filter(|record| record.kind == Kind::Start);
    let Some(first) = first else {
        return Ok(None);
    };
    let payload = bytes.get(first.payload).unwrap_or_default();
    let (start, _) = Start::read(payload).ok_or_else(|| damaged(slot, "no start is in it"))?;
    Ok(Some((first.number, start)))
}

/// Looks at files whose first record does not check out: none may have been on the disk as a
/// successor of the last one. Gives the highest number there is.
fn unfinished(headless: &[Arc<Slot>], salt: u64, last: u64) -> Result<u64, StoreError> {
    let mut highest = last;
    for slot in headless {
        let bytes = slot.read_up_to(u64::MAX)?;
        for record in record::search(&bytes, 0, salt, |number| number > last) {
            if record.synced > 0 {
                return Err(damaged(slot, "its first record is not whole"));
            }
            highest = highest.max(record.number);
        }
    }
    Ok(highest)
}

type Known = BTreeMap<u64, (Arc<Slot>, Start)>;

/// A file that is needed.
struct Needed {
    slot: Arc<Slot>,
    number: u64,
    /// Where it must end, if it has a successor.
    end: Option<u64>,
}

/// Takes the files that are needed out of the known ones, the first one first.
fn chain(known: &mut Known, last: u64) -> Result<Vec<Needed>, StoreError> {
    let mut chain = Vec::new();
    let oldest = known.get(&last).map_or(0, |(_, start)| start.oldest);
    let (mut number, mut end) = (last, None);
    while let Some((slot, start)) = known.remove(&number) {
        chain.push(Needed { slot, number, end });
        if number <= oldest {
            break;
        }
        if start.previous >= number || !known.contains_key(&start.previous) {
            let why = format!("the file {} of the log is missing", start.previous);
            return Err(StoreError::damaged("log", why));
        }
        (number, end) = (start.previous, Some(start.previous_end));
    }
    chain.reverse();
    Ok(chain)
}

/// Applies the records of the last segment of `rows`.
fn replay(rows: &mut Rows, slot: &Arc<Slot>, own: u64, salt: u64) -> Result<Last, StoreError> {
    let bytes = slot.read_up_to(u64::MAX)?;
    let mut end = 0;
    while let Some(record) = next(&bytes, end, salt, own) {
        let payload = bytes.get(record.payload.clone()).unwrap_or_default();
        let first = match record.kind {
            Kind::Start if end == 0 => Start::read(payload).map(|(_, first)| first),
            Kind::Round if end > 0 => Some(0),
            _ => None,
        };
        let first = first.ok_or_else(|| damaged(slot, "a record is out of its place"))?;
        record::operations(payload, first, &mut |operation: Operation<'_>| {
            rows.apply(&operation, payload, record.payload.start)
        })?;
        end = record.end;
    }
    for later in record::search(&bytes, end, salt, |number| number == own) {
        if later.synced > end as u64 {
            let why = format!("no record is at {end}, but one was");
            return Err(damaged(slot, &why));
        }
    }
    Ok(Last {
        slot: Arc::clone(slot),
        number: own,
        end,
    })
}

fn next(bytes: &[u8], at: usize, salt: u64, own: u64) -> Option<Record> {
    record::read(bytes, at, salt).filter(|record| record.number == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::file::record::Head;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn salt_and_records_have_frozen_bytes() {
        let salt = encode_salt(0x0102_0304);
        assert_eq!(hex(&salt), "010000000000000004030201000000001846d987");
        assert_eq!(decode_salt(&salt).unwrap(), 0x0102_0304);
        let mut next = salt;
        next[0] = 2;
        let crc = crc32fast::hash(&next[..16]).to_le_bytes();
        next[16..].copy_from_slice(&crc);
        assert!(
            decode_salt(&next)
                .unwrap_err()
                .to_string()
                .contains("upgrade")
        );
        let mut bytes = Vec::new();
        let start = Start {
            previous: 4,
            previous_end: 96,
            oldest: 3,
        };
        let payload = |out: &mut Vec<u8>| {
            start.append(out);
            record::append_put(out, b"key", b"value")
        };
        let head = Head {
            kind: Kind::Start,
            number: 5,
            synced: 0,
        };
        let place = record::append(&mut bytes, 0, 7, head, payload).unwrap();
        assert_eq!(
            hex(&bytes),
            "52c699af26000000010000009c8404420500000000000000000000000000000004000000000000006000000000000000030000000000000001036b65790500000076616c75650000"
        );
        let read = record::read(&bytes, 0, 7).unwrap();
        assert_eq!(
            (read.kind, read.number, read.payload),
            (Kind::Start, 5, place)
        );
        assert!(record::read(&bytes, 0, 8).is_none(), "another salt");
        let moved = [&[0; 8], &bytes[..]].concat();
        assert!(record::read(&moved, 8, 7).is_none(), "another place");
    }
}
