//! Bytes of what is private to the nodes of one cluster: Raft messages between peers, and the
//! store's own marks. The only module that knows bincode.
//!
//! Every message lies in an envelope, little-endian:
//!
//! ```text
//! magic "CRLW" | version u8 = 1 | kind u8 | zero u16 | payload length u32 | crc32 u32 | payload
//! ```
//!
//! The crc is over the envelope without magic and crc, then the payload. Bincode lays fields out
//! by position, so a changed type needs a new version; the tests beside this file freeze the bytes.

use crate::log::{LogStart, Tip};
use crate::snapshot::Manifest;
use crate::state::{AppliedMark, Current};
use crate::types::{LogId, Membership, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use bincode::config;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes before the payload.
pub const ENVELOPE_BYTES: usize = 16;
/// No message is longer. Also what a decoder may allocate.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// A payload up to this long is read within [`SHORT_PAYLOAD_MEMORY`].
const SHORT_PAYLOAD_BYTES: usize = 64 << 10;
/// Bincode takes the memory that a length asks for before it looks whether so much is there: a few
/// bytes must not cost what the largest message may. A number is at most 16 times as large in
/// memory as in its bytes, so all that fits a short payload fits this.
const SHORT_PAYLOAD_MEMORY: usize = 16 * SHORT_PAYLOAD_BYTES;

const MAGIC: [u8; 4] = *b"CRLW";
const VERSION: u8 = 1;

/// Why bytes are not the message that was expected.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the envelope says, or more.
    #[error("a message of {expected} bytes has {got}")]
    Length {
        /// What the envelope, or its size, asks for.
        expected: usize,
        /// What there is.
        got: usize,
    },
    /// Not ours.
    #[error("not a message of this program")]
    Magic,
    /// Another version wrote it.
    #[error("message version {0} is unknown here; run the same version on every node")]
    Version(u8),
    /// Some other message.
    #[error("message kind {got} where {expected} was expected")]
    Kind {
        /// The kind asked for.
        expected: u8,
        /// The kind found.
        got: u8,
    },
    /// The bytes changed on the way.
    #[error("a message's crc differs")]
    Crc,
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes is over the limit")]
    TooLarge(usize),
    /// The payload is not the type.
    #[error("a message's payload is malformed: {0}")]
    Payload(String),
}

mod sealed {
    pub trait Sealed {}
}

/// What can travel in an envelope. Sealed: the kinds are given out here.
pub trait Message: Serialize + DeserializeOwned + sealed::Sealed {
    /// Its number in the envelope. Stored and sent: never change one.
    const KIND: u8;
}

macro_rules! messages {
    ($($kind:literal => $message:ty,)*) => {
        $(
            impl sealed::Sealed for $message {}
            impl Message for $message {
                const KIND: u8 = $kind;
            }
        )*

        /// Reads a message of any kind, writes it, and reads that: it must come back.
        pub(crate) fn round_trip(kind: u8, bytes: &[u8]) {
            match kind {
                $($kind => round_trip_of::<$message>(bytes),)*
                _ => {}
            }
        }
    };
}

/// What a snapshot's sender says before its chunks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The leader's vote.
    pub vote: Vote,
    /// What the snapshot stands for.
    pub meta: SnapshotMeta,
}

/// The last entry known to be committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct CommittedMark(pub(crate) Option<LogId>);

messages! {
    1 => AppendEntriesRequest<TypeConfig>,
    2 => AppendEntriesResponse<TypeConfig>,
    3 => VoteRequest<TypeConfig>,
    4 => VoteResponse<TypeConfig>,
    5 => TransferLeaderRequest<TypeConfig>,
    6 => TransferLeaderResponse<TypeConfig>,
    7 => SnapshotHeader,
    8 => SnapshotResponse<TypeConfig>,
    64 => Vote,
    65 => CommittedMark,
    66 => LogStart,
    67 => AppliedMark,
    68 => StoredMembership,
    69 => Membership,
    70 => Manifest,
    71 => Current,
    72 => Tip,
}

fn round_trip_of<M: Message>(bytes: &[u8]) {
    if let Ok(read) = decode::<M>(bytes) {
        let written = encode(&read).expect("what was read can be written");
        let again: M = decode(&written).expect("what was written can be read");
        assert_eq!(encode(&again).ok(), Some(written));
    }
}

/// Puts a message into its envelope.
///
/// # Errors
/// [`WireError::TooLarge`]; [`WireError::Payload`] if the type cannot be written.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; ENVELOPE_BYTES];
    bincode::serde::encode_into_std_write(message, &mut bytes, config::standard())
        .map_err(|error| WireError::Payload(error.to_string()))?;
    seal(M::KIND, bytes)
}

/// Puts a payload into an envelope of a kind, whatever it is.
pub(crate) fn envelope(kind: u8, payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; ENVELOPE_BYTES];
    bytes.extend_from_slice(payload);
    seal(kind, bytes)
}

/// Fills in the envelope before a payload.
fn seal(kind: u8, mut bytes: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(bytes.len()));
    }
    let length = u32::try_from(bytes.len() - ENVELOPE_BYTES)
        .map_err(|_over| WireError::TooLarge(bytes.len()))?;
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = VERSION;
    bytes[5] = kind;
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let crc = envelope_crc(&bytes[4..12], &bytes[ENVELOPE_BYTES..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Takes a message out of its envelope. The envelope must be all there is.
///
/// # Errors
/// [`WireError`] for anything but exactly what [`encode`] wrote.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    let total = whole_length(bytes)?.ok_or(WireError::Length {
        expected: ENVELOPE_BYTES,
        got: bytes.len(),
    })?;
    if total != bytes.len() {
        return Err(WireError::Length {
            expected: total,
            got: bytes.len(),
        });
    }
    if bytes[5] != M::KIND {
        return Err(WireError::Kind {
            expected: M::KIND,
            got: bytes[5],
        });
    }
    let payload = &bytes[ENVELOPE_BYTES..];
    if envelope_crc(&bytes[4..12], payload).to_le_bytes() != bytes[12..16] {
        return Err(WireError::Crc);
    }
    let read = if payload.len() <= SHORT_PAYLOAD_BYTES {
        payload_within::<M, SHORT_PAYLOAD_MEMORY>(payload)
    } else {
        payload_within::<M, MESSAGE_BYTES_MAX>(payload)
    };
    let (message, used) = read.map_err(|error| WireError::Payload(error.to_string()))?;
    if used != payload.len() {
        return Err(WireError::Length {
            expected: used,
            got: payload.len(),
        });
    }
    Ok(message)
}

/// Reads a payload with no more memory than `LIMIT` for what its lengths claim.
fn payload_within<M: Message, const LIMIT: usize>(
    payload: &[u8],
) -> Result<(M, usize), bincode::error::DecodeError> {
    let limited = config::standard().with_limit::<LIMIT>();
    bincode::serde::decode_from_slice(payload, limited)
}

/// How long the message that begins with these bytes is; `None` if its envelope is not complete.
pub(crate) fn whole_length(bytes: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(envelope) = bytes.first_chunk::<ENVELOPE_BYTES>() else {
        return Ok(None);
    };
    if envelope[..4] != MAGIC {
        return Err(WireError::Magic);
    }
    if envelope[4] != VERSION {
        return Err(WireError::Version(envelope[4]));
    }
    let length = u32::from_le_bytes([envelope[8], envelope[9], envelope[10], envelope[11]]);
    let total = length as usize + ENVELOPE_BYTES;
    if total > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(total));
    }
    Ok(Some(total))
}

fn envelope_crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
