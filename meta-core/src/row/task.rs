//! Rows of the work that sessions do for their volume.

use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::Timestamp;
use crate::ids::{Epoch, Seq, SessionId};
use crate::limits::BACKUP_NAME_BYTES_MAX;
use crate::outcome::{Fatal, Token};
use crate::task::{Backup, NewBackup};
use zerocopy::byteorder::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A task that a session does. It ends with the session; the task is in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskClaim {
    /// The session.
    pub session: SessionId,
    /// When it was given the task.
    pub since: Timestamp,
    /// Until when nobody else is given it.
    pub until: Timestamp,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTaskClaim {
    session: U64,
    since: RawTime,
    until: RawTime,
}

impl Row for TaskClaim {
    const WHAT: &'static str = "claim";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawTaskClaim {
            session: self.session.0.into(),
            since: self.since.into(),
            until: self.until.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawTaskClaim = open_exact(Self::WHAT, key, bytes)?;
        let (since, until): (Timestamp, Timestamp) = (raw.since.into(), raw.until.into());
        if !since.is_valid() || !until.is_valid() {
            return Err(damaged(Self::WHAT, key, "has no time"));
        }
        Ok(Self {
            session: SessionId(raw.session.get()),
            since,
            until,
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBackup {
    finished: RawTime,
    epoch: U16,
    seq: U64,
    bytes: U64,
}

impl Row for Backup {
    const WHAT: &'static str = "backup";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let made = &self.made;
        let raw = RawBackup {
            finished: self.finished.into(),
            epoch: made.token.epoch.0.into(),
            seq: made.token.seq.0.into(),
            bytes: made.bytes.into(),
        };
        seal(key, raw.as_bytes(), made.name.as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, name): (&RawBackup, _) = open_fixed(Self::WHAT, key, bytes)?;
        let finished: Timestamp = raw.finished.into();
        if !finished.is_valid() {
            return Err(damaged(Self::WHAT, key, "has no time"));
        }
        let name = String::from_utf8(name.to_vec());
        let name = name.ok().filter(|name| name.len() <= BACKUP_NAME_BYTES_MAX);
        Ok(Self {
            finished,
            made: NewBackup {
                token: Token {
                    epoch: Epoch(raw.epoch.get()),
                    seq: Seq(raw.seq.get()),
                },
                bytes: raw.bytes.get(),
                name: name.ok_or_else(|| damaged(Self::WHAT, key, "has no name"))?,
            },
        })
    }
}
