//! Decoders of what is on the disk and comes from peers, for the room `fuzz` to throw bytes at. Crcs
//! are put right first: random bytes would never come past them.

use crate::log::{decode_entry, encode_entry};
use crate::snapshot::{MANIFEST_FILE, Manifest, SnapshotChunk, SnapshotReceiver};
use crate::wire::{self, Message as _};
use bytes::Bytes;

/// Reads a message of a kind, and writes it again.
///
/// # Panics
/// If what was read does not come back.
pub fn message(kind: u8, payload: &[u8]) {
    let Ok(bytes) = wire::envelope(kind, payload) else {
        return;
    };
    wire::round_trip(kind, &bytes);
}

/// Reads bytes that claim to be a message, as they are.
pub fn any_message(bytes: &[u8]) {
    let kind = bytes.get(5).copied().unwrap_or_default();
    wire::round_trip(kind, bytes);
}

/// Reads a log entry from all its bytes but the crc, and writes it again.
///
/// # Panics
/// If what was read does not come back as it was.
pub fn log_entry(body: &[u8]) {
    let mut value = body.to_vec();
    value.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let index = body.get(16..24).and_then(|index| index.first_chunk());
    let index = index.map_or(0, |index| u64::from_le_bytes(*index));
    if let Ok(entry) = decode_entry(index, &value) {
        let again = encode_entry(&entry).expect("what was read can be written");
        let entry_again = decode_entry(index, &again).expect("what was written can be read");
        assert_eq!(entry_again, entry);
    }
}

/// Reads what is in a log's file, and what is in a record of it, and writes that again.
///
/// # Panics
/// If what was read does not come back.
pub fn log_record(bytes: &[u8]) {
    crate::log::fuzz_record(bytes);
}

/// Receives a snapshot in pieces of a length: its manifest, then the content of its files.
pub fn snapshot(manifest: &[u8], piece: usize, content: &[u8]) {
    let Ok(manifest) = wire::envelope(Manifest::KIND, manifest) else {
        return;
    };
    let mut receiver = SnapshotReceiver::in_memory();
    let chunk = |file: &str, offset: usize, data: &[u8]| SnapshotChunk {
        file: file.to_owned(),
        offset: offset as u64,
        data: Bytes::copy_from_slice(data),
        crc32: crc32fast::hash(data),
    };
    for (number, part) in manifest.chunks(piece.max(1)).enumerate() {
        let offset = number * piece.max(1);
        if receiver.push(chunk(MANIFEST_FILE, offset, part)).is_err() {
            return;
        }
    }
    let mut rest = content;
    while let Some((name, offset, left)) = receiver.expected() {
        let (part, after) = rest.split_at(rest.len().min(piece.max(1)).min(left));
        if receiver.push(chunk(&name, offset, part)).is_err() {
            return;
        }
        rest = after;
    }
    let _complete_or_not = receiver.finish();
}
