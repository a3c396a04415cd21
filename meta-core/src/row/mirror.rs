//! Rows of volumes that follow another cluster.

use super::{Row, damaged, open_fixed, seal};
use crate::ids::{ClusterId, Epoch, Seq, Uuid, VolumeUuid};
use crate::outcome::{Fatal, MirrorState, StopReason, Token};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How far a mirror is. A volume with this row is a mirror: only its origin's records change its
/// replicated rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// What it does.
    pub state: MirrorState,
    /// The volume's name for ever, before its settings have come.
    pub uuid: VolumeUuid,
    /// The cluster that is followed.
    pub origin: ClusterId,
    /// The snapshot that is being loaded, or was loaded last.
    pub snapshot: Token,
    /// CRC of the snapshot's last record.
    pub snapshot_crc: u32,
    /// The record that stopped it; zero if it was stopped while it loaded.
    pub stopped_at: Seq,
    /// The last key loaded (tag and ids); empty before the first.
    pub cursor: Vec<u8>,
}

impl Mirror {
    /// Whether the volume's rows are those of one moment of its origin.
    pub fn is_loaded(&self) -> bool {
        match self.state {
            MirrorState::Following => true,
            MirrorState::Loading
            | MirrorState::Restoring
            | MirrorState::Stopped(StopReason::SnapshotDiffers) => false,
            MirrorState::Stopped(_) => self.stopped_at > Seq(0),
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawMirror {
    state: u8,
    reason: u8,
    uuid: [u8; 16],
    origin: [u8; 16],
    epoch: U16,
    seq: U64,
    snapshot_crc: U32,
    stopped_at: U64,
}

impl Row for Mirror {
    const WHAT: &'static str = "mirror";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let (state, reason) = match self.state {
            MirrorState::Loading => (1, 0),
            MirrorState::Following => (2, 0),
            MirrorState::Stopped(reason) => (3, reason as u8),
            MirrorState::Restoring => (4, 0),
        };
        let raw = RawMirror {
            state,
            reason,
            uuid: self.uuid.0,
            origin: self.origin.0,
            epoch: self.snapshot.epoch.0.into(),
            seq: self.snapshot.seq.0.into(),
            snapshot_crc: self.snapshot_crc.into(),
            stopped_at: self.stopped_at.0.into(),
        };
        seal(key, raw.as_bytes(), &self.cursor)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, cursor): (&RawMirror, _) = open_fixed(Self::WHAT, key, bytes)?;
        let state = match (raw.state, StopReason::from_number(raw.reason)) {
            (1, None) => MirrorState::Loading,
            (2, None) => MirrorState::Following,
            (3, Some(reason)) => MirrorState::Stopped(reason),
            (4, None) => MirrorState::Restoring,
            _ => return Err(damaged(Self::WHAT, key, "the state is unknown")),
        };
        Ok(Self {
            state,
            uuid: Uuid(raw.uuid),
            origin: Uuid(raw.origin),
            snapshot: Token {
                epoch: Epoch(raw.epoch.get()),
                seq: Seq(raw.seq.get()),
            },
            snapshot_crc: raw.snapshot_crc.get(),
            stopped_at: Seq(raw.stopped_at.get()),
            cursor: cursor.to_vec(),
        })
    }
}
