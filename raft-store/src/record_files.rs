//! A look at RocksDB's record files (its write-ahead logs and its manifest) before it opens them.
//!
//! RocksDB (11.8.1, `db/log_reader.cc`) reads a file of records for ever, without going on, when a
//! record behind the first has one of the types that only recycled files have; and where the first has
//! one it takes the whole file for an old one's rest, and passes over it. We let no file be recycled, so
//! such a type is damage, which one flipped bit can do, and a node must refuse it and not hang.
//!
//! The form is that of `db/log_format.h`: blocks of 32 KiB of records `crc u32 | length u16 | type u8 |
//! bytes`, the masked CRC-32C over type and bytes, little-endian; a block's last bytes are unused if no
//! head fits into them. What is wrong in another way is for RocksDB to tell.

use crate::error::StoreError;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

const BLOCK_BYTES: usize = 32 << 10;
const HEAD_BYTES: usize = 7;
/// Types of records of recycled files.
const RECYCLABLE: [u8; 6] = [5, 6, 7, 8, 11, 131];
/// What a stored CRC is masked by.
const MASK: u32 = 0xa282_ead8;

/// Refuses a database directory in which RocksDB would read a file for ever, or pass over it.
///
/// # Errors
/// [`StoreError::Damaged`] with the file and the place; an error of the file system.
pub(crate) fn check(dir: &Path) -> Result<(), StoreError> {
    let failed = || StoreError::file("read", dir);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed()(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_of_records(&name) {
            continue;
        }
        let file = File::open(&path).map_err(failed())?;
        if let Some(at) = find(file).map_err(failed())? {
            let why = format!("{name}: a record at {at} has a type that is never written");
            return Err(StoreError::damaged("RocksDB files", why));
        }
    }
    Ok(())
}

fn is_of_records(name: &str) -> bool {
    let numbered = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let manifest = name.strip_prefix("MANIFEST-").is_some_and(numbered);
    manifest || name.strip_suffix(".log").is_some_and(numbered)
}

/// The place of the first record of such a type that RocksDB would come to.
fn find(mut file: impl Read) -> io::Result<Option<usize>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut before = 0;
    loop {
        block.clear();
        let mut read = file.by_ref().take(BLOCK_BYTES as u64);
        if read.read_to_end(&mut block)? == 0 {
            return Ok(None);
        }
        if let Some(at) = find_in_block(&block) {
            return Ok(Some(before + at));
        }
        before += block.len();
    }
}

fn find_in_block(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(([c0, c1, c2, c3, l0, l1, kind], rest)) = head(block, at) {
        if RECYCLABLE.contains(&kind) {
            return Some(at);
        }
        // Where the rest cannot be relied on, RocksDB goes on with the next block.
        let bytes = rest.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), bytes);
        if mask(crc) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return None;
        }
        at += HEAD_BYTES + bytes.len();
    }
    None
}

fn head(block: &[u8], at: usize) -> Option<([u8; HEAD_BYTES], &[u8])> {
    let (head, rest) = block.get(at..)?.split_first_chunk()?;
    Some((*head, rest))
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let crc = mask(crc32c::crc32c_append(crc32c::crc32c(&[kind]), bytes));
        let length = u16::try_from(bytes.len()).unwrap();
        let head = [&crc.to_le_bytes()[..], &length.to_le_bytes(), &[kind]].concat();
        [&head, bytes].concat()
    }

    #[test]
    fn only_types_of_recycled_files_are_found() {
        let (one, two) = (record(1, b"first"), record(1, &[9; 300]));
        let sound = [one.clone(), two.clone()].concat();
        assert_eq!(find(&sound[..]).unwrap(), None);
        for kind in 0..=u8::MAX {
            let mut file = sound.clone();
            file[one.len() + 6] = kind;
            let expected = RECYCLABLE.contains(&kind).then_some(one.len());
            assert_eq!(find(&file[..]).unwrap(), expected, "{kind}");
        }
        // A record that is cut off, or does not check out, hides what follows in its block.
        for (place, cut) in [(4, 200), (10, 0)] {
            let mut file = [&two[..], &record(5, b"x")].concat();
            file[place] ^= 1;
            file.truncate(file.len() - cut);
            assert_eq!(find(&file[..]).unwrap(), None, "{place}");
        }
        // The next block is read all the same.
        let mut file = two;
        file[10] ^= 1;
        file.resize(BLOCK_BYTES, 0);
        file.extend(record(6, b"x"));
        assert_eq!(find(&file[..]).unwrap(), Some(BLOCK_BYTES));
    }

    #[test]
    fn files_of_records_are_told_by_their_names() {
        for (name, is) in [
            ("MANIFEST-000010", true),
            ("000009.log", true),
            ("LOG", false),
            ("LOG.old.17", false),
            ("000008.sst", false),
            ("x.log", false),
            ("MANIFEST-", false),
        ] {
            assert_eq!(is_of_records(name), is, "{name}");
        }
    }
}
