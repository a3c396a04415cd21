//! Rows of locks and of those who wait for one.

use super::{Row, damaged, open_exact, seal};
use crate::ids::{Ino, SessionId};
use crate::lock::{LockKind, LockMode, LockOwner, LockRange, Span};
use crate::outcome::Fatal;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A lock; file, owner and first byte are in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRow {
    /// Its last byte.
    pub last: u64,
    /// Whom it excludes.
    pub mode: LockMode,
    /// The process that took it.
    pub pid: u32,
}

impl From<Span> for LockRow {
    fn from(span: Span) -> Self {
        let Span { last, mode, pid } = span;
        Self { last, mode, pid }
    }
}

impl From<LockRow> for Span {
    fn from(row: LockRow) -> Self {
        let LockRow { last, mode, pid } = row;
        Self { last, mode, pid }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLock {
    last: U64,
    exclusive: u8,
    pid: U32,
}

fn mode_of(what: &'static str, key: &[u8], exclusive: u8) -> Result<LockMode, Fatal> {
    match exclusive {
        0 => Ok(LockMode::Shared),
        1 => Ok(LockMode::Exclusive),
        _ => Err(damaged(what, key, "has no mode")),
    }
}

impl Row for LockRow {
    const WHAT: &'static str = "lock";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawLock {
            last: self.last.into(),
            exclusive: u8::from(self.mode == LockMode::Exclusive),
            pid: self.pid.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawLock = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            last: raw.last.get(),
            mode: mode_of(Self::WHAT, key, raw.exclusive)?,
            pid: raw.pid.get(),
        })
    }
}

/// A request that waits; file and place in the queue are in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// Who waits.
    pub owner: LockOwner,
    /// Under which number of the owner.
    pub ticket: u64,
    /// For which bytes.
    pub range: LockRange,
    /// To exclude whom.
    pub mode: LockMode,
    /// The process that waits.
    pub pid: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawWaiter {
    session: U64,
    kind: u8,
    number: U64,
    ticket: U64,
    first: U64,
    last: U64,
    exclusive: u8,
    pid: U32,
}

impl Row for Waiter {
    const WHAT: &'static str = "waiter";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawWaiter {
            session: self.owner.session.0.into(),
            kind: self.owner.kind as u8,
            number: self.owner.number.into(),
            ticket: self.ticket.into(),
            first: self.range.first.into(),
            last: self.range.last.into(),
            exclusive: u8::from(self.mode == LockMode::Exclusive),
            pid: self.pid.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawWaiter = open_exact(Self::WHAT, key, bytes)?;
        let kind = LockKind::from_number(raw.kind);
        Ok(Self {
            owner: LockOwner {
                session: SessionId(raw.session.get()),
                kind: kind.ok_or_else(|| damaged(Self::WHAT, key, "has no kind"))?,
                number: raw.number.get(),
            },
            ticket: raw.ticket.get(),
            range: LockRange {
                first: raw.first.get(),
                last: raw.last.get(),
            },
            mode: mode_of(Self::WHAT, key, raw.exclusive)?,
            pid: raw.pid.get(),
        })
    }
}

/// Where an owner waits; owner and its number for it are in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitPlace {
    /// The file.
    pub ino: Ino,
    /// The place in the file's queue.
    pub place: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawWaitPlace {
    ino: U64,
    place: U64,
}

impl Row for WaitPlace {
    const WHAT: &'static str = "wait";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawWaitPlace {
            ino: self.ino.0.into(),
            place: self.place.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawWaitPlace = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            ino: Ino(raw.ino.get()),
            place: raw.place.get(),
        })
    }
}

/// How many locks a session has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionLocks {
    /// Locks.
    pub locks: u32,
    /// Requests that wait.
    pub waiters: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSessionLocks {
    locks: U32,
    waiters: U32,
}

impl Row for SessionLocks {
    const WHAT: &'static str = "locks of a session";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawSessionLocks {
            locks: self.locks.into(),
            waiters: self.waiters.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawSessionLocks = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            locks: raw.locks.get(),
            waiters: raw.waiters.get(),
        })
    }
}
