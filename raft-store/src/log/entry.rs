//! The bytes of one log entry and its key. The layout, little-endian but for the key:
//!
//! ```text
//! key:   group u32 BE | index u64 BE
//! value: version u8 = 1 | kind u8 | zero u16 | payload length u32 | term u64 | index u64
//!        | payload | crc32 u32 of all before
//! ```

use crate::types::{CommandBytes, Entry, LogId, Membership};
use crate::wire;
use bytes::Bytes;
use meta_core::seeded::{Bug, has};
use openraft::EntryPayload;
use openraft::vote::leader_id_std::CommittedLeaderId;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const CRC_BYTES: usize = 4;

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// The key of an entry.
pub(crate) fn key(group: u32, index: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(12);
    key.extend_from_slice(&group.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The index in a key.
pub(crate) fn key_index(key: &[u8]) -> Option<u64> {
    let index = key
        .get(4..)?
        .first_chunk::<8>()
        .filter(|_| key.len() == 12)?;
    Some(u64::from_be_bytes(*index))
}

/// A position in the log.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

/// The value of an entry.
pub(crate) fn encode(entry: &Entry) -> Result<Vec<u8>, String> {
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(command) => (COMMAND, command.0.clone()),
        EntryPayload::Membership(membership) => {
            let bytes = wire::encode(membership).map_err(|error| error.to_string())?;
            (MEMBERSHIP, bytes.into())
        }
    };
    let length = u32::try_from(payload.len())
        .map_err(|_over| format!("a log entry of {} bytes is too large", payload.len()))?;
    let mut value = Vec::with_capacity(HEADER_BYTES + payload.len() + CRC_BYTES);
    value.extend_from_slice(&[VERSION, kind, 0, 0]);
    value.extend_from_slice(&length.to_le_bytes());
    value.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    value.extend_from_slice(&entry.log_id.index.to_le_bytes());
    value.extend_from_slice(&payload);
    value.extend_from_slice(&crc32fast::hash(&value).to_le_bytes());
    Ok(value)
}

/// Reads a value back and checks that it belongs at `index`.
pub(crate) fn decode(index: u64, value: &[u8]) -> Result<Entry, String> {
    let (body, crc) = value.split_last_chunk::<CRC_BYTES>().ok_or("too short")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) && !has(Bug::CrcNotChecked) {
        return Err(String::from("crc differs"));
    }
    let (header, payload) = body
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or("too short")?;
    let [version, kind, 0, 0, l0, l1, l2, l3, rest @ ..] = header else {
        return Err(String::from("reserved bytes are set"));
    };
    if *version != VERSION {
        return Err(format!(
            "version {version} is unknown here; upgrade this node"
        ));
    }
    if u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize != payload.len() {
        return Err(String::from("length differs"));
    }
    let (term, at) = rest.split_first_chunk::<8>().ok_or("too short")?;
    let at = at.first_chunk::<8>().ok_or("too short")?;
    let id = log_id(u64::from_le_bytes(*term), u64::from_le_bytes(*at));
    if id.index != index {
        return Err(format!("it says index {}", id.index));
    }
    let payload = match *kind {
        BLANK if payload.is_empty() => EntryPayload::Blank,
        COMMAND => EntryPayload::Normal(CommandBytes(Bytes::copy_from_slice(payload))),
        MEMBERSHIP => EntryPayload::Membership(
            wire::decode::<Membership>(payload).map_err(|error| error.to_string())?,
        ),
        other => return Err(format!("kind {other} is unknown here; upgrade this node")),
    };
    Ok(Entry {
        log_id: id,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::members;
    use proptest::prelude::*;

    fn command(term: u64, index: u64, bytes: &'static [u8]) -> Entry {
        let payload = EntryPayload::Normal(CommandBytes(Bytes::from_static(bytes)));
        Entry {
            log_id: log_id(term, index),
            payload,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn entries_have_frozen_bytes() {
        assert_eq!(hex(&key(7, 9)), "000000070000000000000009");
        let blank = Entry {
            log_id: log_id(2, 3),
            payload: EntryPayload::Blank,
        };
        let membership = Entry {
            log_id: log_id(2, 5),
            payload: EntryPayload::Membership(members(&[(1, "h:1")])),
        };
        let cases = [
            (
                blank,
                "010000000000000002000000000000000300000000000000878dcb2b",
            ),
            (
                command(2, 4, b"abc"),
                "010100000300000002000000000000000400000000000000616263fb3b06eb",
            ),
            (
                membership,
                "01020000190000000200000000000000050000000000000043524c570145000009000000b3156736010101010103683a3174269512",
            ),
        ];
        for (entry, expected) in cases {
            let bytes = encode(&entry).unwrap();
            assert_eq!(hex(&bytes), expected);
            assert_eq!(decode(entry.log_id.index, &bytes).unwrap(), entry);
        }
    }

    #[test]
    fn an_entry_under_another_key_is_refused() {
        let bytes = encode(&command(1, 4, b"abc")).unwrap();
        assert!(decode(5, &bytes).unwrap_err().contains("index 4"));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(at in 0usize..31, bit in 0u8..8) {
            let mut bytes = encode(&command(1, 4, b"abc")).unwrap();
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(4, &bytes).is_err());
        }

        #[test]
        fn a_cut_entry_is_found(length in 0usize..31) {
            let bytes = encode(&command(1, 4, b"abc")).unwrap();
            prop_assert!(decode(4, &bytes[..length]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = decode(4, &bytes);
        }
    }
}
