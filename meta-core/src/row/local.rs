//! Rows local to a cluster: its identity, its sessions, what they were granted and answered.

use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::Timestamp;
use crate::ids::{ClusterId, SessionId, SliceId, Uuid, VolumeId};
use crate::outcome::Fatal;
use zerocopy::byteorder::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The cluster's identity and counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Its name for ever.
    pub id: ClusterId,
    /// The next volume's number.
    pub next_volume: u32,
    /// The next session's number.
    pub next_session: u64,
    /// Live sessions.
    pub sessions: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCluster {
    id: [u8; 16],
    next_volume: U32,
    next_session: U64,
    sessions: U64,
}

impl Row for Cluster {
    const WHAT: &'static str = "cluster";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawCluster {
            id: self.id.0,
            next_volume: self.next_volume.into(),
            next_session: self.next_session.into(),
            sessions: self.sessions.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawCluster = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            id: Uuid(raw.id),
            next_volume: raw.next_volume.get(),
            next_session: raw.next_session.get(),
            sessions: raw.sessions.get(),
        })
    }
}

/// A volume, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeRef(pub VolumeId);

impl Row for VolumeRef {
    const WHAT: &'static str = "volume name";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &self.0.0.to_le_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &U32 = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self(VolumeId(raw.get())))
    }
}

/// A session, by the nonce that opened it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRef(pub SessionId);

impl Row for SessionRef {
    const WHAT: &'static str = "nonce";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &self.0.0.to_le_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &U64 = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self(SessionId(raw.get())))
    }
}

/// A live session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its volume.
    pub volume: VolumeId,
    /// Its slots.
    pub slots: u32,
    /// The nonce that opened it.
    pub nonce: u128,
    /// When it was opened.
    pub opened: Timestamp,
    /// Who it is.
    pub info: Vec<u8>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSession {
    volume: U32,
    slots: U32,
    nonce: U128,
    opened: RawTime,
}

impl Row for Session {
    const WHAT: &'static str = "session";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawSession {
            volume: self.volume.0.into(),
            slots: self.slots.into(),
            nonce: self.nonce.into(),
            opened: self.opened.into(),
        };
        seal(key, raw.as_bytes(), &self.info)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, info): (&RawSession, _) = open_fixed(Self::WHAT, key, bytes)?;
        Ok(Self {
            volume: VolumeId(raw.volume.get()),
            slots: raw.slots.get(),
            nonce: raw.nonce.get(),
            opened: raw.opened.into(),
            info: info.to_vec(),
        })
    }
}

/// The last request of a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Its sequence.
    pub sequence: u64,
    /// The encoded reply.
    pub reply: Vec<u8>,
}

impl Row for Slot {
    const WHAT: &'static str = "slot";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &self.sequence.to_le_bytes(), &self.reply)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (sequence, reply): (&U64, _) = open_fixed(Self::WHAT, key, bytes)?;
        Ok(Self {
            sequence: sequence.get(),
            reply: reply.to_vec(),
        })
    }
}

/// Slice ids that a session may commit, each once: `first` up to the last, which is in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The first id left.
    pub first: SliceId,
}

impl Row for Grant {
    const WHAT: &'static str = "grant";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &self.first.0.to_le_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &U64 = open_exact(Self::WHAT, key, bytes)?;
        let mut ids = crate::key::Ids(key.get(key.len().saturating_sub(8)..).unwrap_or_default());
        match ids.u64() {
            Some(last) if raw.get() <= last => Ok(Self {
                first: SliceId(raw.get()),
            }),
            _ => Err(damaged(Self::WHAT, key, "is empty")),
        }
    }
}
