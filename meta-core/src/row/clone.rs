//! Rows of copies of directories that are being made.

use super::{RawTime, Row, damaged, open_exact, open_fixed, seal};
use crate::attr::{Caller, Timestamp};
use crate::ids::Ino;
use crate::name::Name;
use crate::outcome::{Fatal, Refusal};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How far a clone is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloneState {
    /// Rows are copied.
    Copying,
    /// What was copied goes, and all begins again: a directory in the source was moved.
    Again,
    /// It is where it was to be.
    Attached,
    /// It came to nothing.
    Failed(Refusal),
}

/// A directory, or another file, that is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloneJob {
    /// How far it is.
    pub state: CloneState,
    /// Whether nothing is left of it but this row.
    pub cleared: bool,
    /// The top of what was copied. It has no name before it is attached.
    pub root: Ino,
    /// What is copied.
    pub source: Ino,
    /// The directory that the copy is to be in.
    pub parent: Ino,
    /// Its name there.
    pub name: Name,
    /// On whose behalf.
    pub caller: Caller,
    /// Permission bits that copies do not get, if they are the caller's.
    pub umask: u32,
    /// Whether copies have owners, modes, times and attributes of what they were copied from.
    pub preserve: bool,
    /// How often it began again.
    pub restarts: u8,
    /// Files that have a copy.
    pub mapped: u64,
    /// Rows that changed after they had been copied.
    pub dirtied: u64,
    /// When it got into its state.
    pub since: Timestamp,
}

impl CloneJob {
    /// Whether there may be copies that nobody sees.
    pub fn hides(&self) -> bool {
        self.state != CloneState::Attached && !self.cleared
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawJob {
    state: u8,
    flags: u8,
    refusal: U16,
    restarts: u8,
    root: U64,
    source: U64,
    parent: U64,
    uid: U32,
    gid: U32,
    umask: U32,
    mapped: U64,
    dirtied: U64,
    since: RawTime,
    groups: U16,
}

const COPYING: u8 = 1;
const AGAIN: u8 = 2;
const ATTACHED: u8 = 3;
const FAILED: u8 = 4;
const PRESERVE: u8 = 1;
const CLEARED: u8 = 2;

impl Row for CloneJob {
    const WHAT: &'static str = "clone";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let (state, refusal) = match self.state {
            CloneState::Copying => (COPYING, 0),
            CloneState::Again => (AGAIN, 0),
            CloneState::Attached => (ATTACHED, 0),
            CloneState::Failed(refusal) => (FAILED, refusal as u16),
        };
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let groups = &self.caller.groups;
        let raw = RawJob {
            state,
            flags: flag(self.preserve, PRESERVE) | flag(self.cleared, CLEARED),
            refusal: refusal.into(),
            restarts: self.restarts,
            root: self.root.0.into(),
            source: self.source.0.into(),
            parent: self.parent.0.into(),
            uid: self.caller.uid.into(),
            gid: self.caller.gid.into(),
            umask: self.umask.into(),
            mapped: self.mapped.into(),
            dirtied: self.dirtied.into(),
            since: self.since.into(),
            groups: u16::try_from(groups.len()).unwrap_or(u16::MAX).into(),
        };
        let mut tail: Vec<u8> = groups.iter().flat_map(|gid| gid.to_le_bytes()).collect();
        tail.extend_from_slice(self.name.as_bytes());
        seal(key, raw.as_bytes(), &tail)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, tail): (&RawJob, _) = open_fixed(Self::WHAT, key, bytes)?;
        let wrong = |what| damaged(Self::WHAT, key, what);
        let refusal = raw.refusal.get();
        let state = match (raw.state, refusal) {
            (COPYING, 0) => CloneState::Copying,
            (AGAIN, 0) => CloneState::Again,
            (ATTACHED, 0) => CloneState::Attached,
            (FAILED, number) => CloneState::Failed(
                Refusal::from_number(number).ok_or_else(|| wrong("failed in an unknown way"))?,
            ),
            _ => return Err(wrong("in a state unknown here")),
        };
        if raw.flags & !(PRESERVE | CLEARED) != 0 {
            return Err(wrong("has flags unknown here"));
        }
        let groups_bytes = usize::from(raw.groups.get()) * size_of::<u32>();
        let (groups, name) = tail
            .split_at_checked(groups_bytes)
            .ok_or_else(|| wrong("groups are cut"))?;
        let (groups, _) = groups.as_chunks::<4>();
        Ok(Self {
            state,
            cleared: raw.flags & CLEARED != 0,
            root: Ino(raw.root.get()),
            source: Ino(raw.source.get()),
            parent: Ino(raw.parent.get()),
            name: Name::new(name).map_err(|_| wrong("holds no name"))?,
            caller: Caller {
                uid: raw.uid.get(),
                gid: raw.gid.get(),
                groups: groups.iter().map(|gid| u32::from_le_bytes(*gid)).collect(),
            },
            umask: raw.umask.get(),
            preserve: raw.flags & PRESERVE != 0,
            restarts: raw.restarts,
            mapped: raw.mapped.get(),
            dirtied: raw.dirtied.get(),
            since: raw.since.into(),
        })
    }
}

/// The file that a row leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InoRef(pub Ino);

impl Row for InoRef {
    const WHAT: &'static str = "file of a clone";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, U64::from(self.0.0).as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &U64 = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self(Ino(raw.get())))
    }
}
