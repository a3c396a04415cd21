//! What lies on a disk, and what nodes send each other of it.

use crate::engine;
use crate::messages::crc32;
use crate::split_piece;
use meta_client::Dump;
use meta_core::attr::Caller;
use meta_core::kv::{Family, Writes};
use meta_core::query::{Query, QueryBody};
use meta_core::{check, read};

/// A message between nodes, or a mark of the log: its kind, then its payload; and the bytes as they
/// are.
pub(crate) fn raft_message(bytes: &[u8]) {
    raft_store::fuzzing::any_message(bytes);
    if let Some((kind, payload)) = bytes.split_first() {
        raft_store::fuzzing::message(*kind, payload);
    }
}

/// An entry of the log, without its crc.
pub(crate) fn log_entry(bytes: &[u8]) {
    raft_store::fuzzing::log_entry(bytes);
}

/// A file of the log, and the payload of a record in one.
pub(crate) fn log_record(bytes: &[u8]) {
    raft_store::fuzzing::log_record(bytes);
}

/// A snapshot: the length of its pieces in a byte, its manifest, and the content of its files.
pub(crate) fn snapshot(bytes: &[u8]) {
    let Some((piece, rest)) = bytes.split_first() else {
        return;
    };
    if let Some((manifest, content)) = split_piece(rest) {
        raft_store::fuzzing::snapshot(manifest, usize::from(*piece), content);
    }
}

/// Rows among those of a sound volume, each as: table tag, length of its ids, ids, length of the
/// row in two bytes, the row without its crc. The check of the volume reads them all, but for those of tasks.
pub(crate) fn row(bytes: &[u8]) {
    let mut writes = Writes::new();
    let mut rest = bytes;
    while let Some((row, after)) = next_row(rest) {
        let (key, value) = row;
        writes.insert((Family::State, key), Some(value));
        rest = after;
    }
    let mut rows = engine::volume();
    rows.write(writes);
    let _sound_or_not = check::check(&rows, engine::VOLUME);
    // Rows of the cluster's own, which the check does not read.
    let query = Query {
        volume: engine::VOLUME,
        caller: Caller::root(),
        body: QueryBody::Backup,
    };
    let _told_or_not = read::answer(&rows, &query);
}

type KeyAndRow = (Vec<u8>, Vec<u8>);

fn next_row(bytes: &[u8]) -> Option<(KeyAndRow, &[u8])> {
    let ([tag, ids], rest) = bytes.split_first_chunk()?;
    let (ids, rest) = rest.split_at_checked(usize::from(*ids % 32))?;
    let (row, rest) = split_piece(rest)?;
    let mut key = engine::VOLUME.0.to_be_bytes().to_vec();
    key.push(*tag);
    key.extend_from_slice(ids);
    // A row's crc covers its table, its ids and itself.
    let mut covered = key.get(4..).unwrap_or_default().to_vec();
    covered.extend_from_slice(row);
    let mut value = row.to_vec();
    value.extend_from_slice(&crc32(&covered).to_le_bytes());
    Some(((key, value), rest))
}

/// A file of `curlew dump`: the bytes as they are, and frames, each behind its length in two bytes,
/// with the crcs that they need.
pub(crate) fn dump(bytes: &[u8]) {
    read_dump(bytes);
    let mut whole = b"CURLEWDUMP1\n".to_vec();
    let mut rest = bytes;
    while let Some((frame, after)) = split_piece(rest) {
        rest = after;
        // Two bytes cannot say more than four can.
        whole.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
        whole.extend_from_slice(&crc32(frame).to_le_bytes());
        whole.extend_from_slice(frame);
    }
    read_dump(&whole);
}

fn read_dump(mut bytes: &[u8]) {
    let length = bytes.len();
    if let Ok(mut dump) = Dump::open(&mut bytes) {
        while let Ok(Some(page)) = dump.page() {
            assert!(page.rows.len() <= length);
        }
    }
}
