//! What rows hold. Every row is `version u8 | fixed fields, little-endian | tail | crc32`, and its
//! crc covers table tag, ids and all bytes before it: a flipped bit, a cut row and a row under
//! another's key are all found when it is read.

mod clone;
mod file;
mod inode;
mod local;
mod lock;
mod mirror;
mod task;
mod totals;
mod trash;
mod volume;

pub use clone::{CloneJob, CloneState, InoRef};
pub use file::{Cut, Dentry, Hole, Named, PendingDelete, SharedSlice, SliceRow};
pub use inode::Inode;
pub use local::{Cluster, Grant, Session, SessionRef, Slot, VolumeRef};
pub use lock::{LockRow, SessionLocks, WaitPlace, Waiter};
pub use mirror::Mirror;
pub use task::TaskClaim;
pub use totals::Totals;
pub use trash::{Options, TrashTotals, Trashed};
pub use volume::{Counters, EpochOpened, Head, QuotaState, Settings};

use crate::attr::Timestamp;
use crate::key;
use crate::outcome::{Fatal, hex};
use zerocopy::byteorder::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of all row formats but those that say otherwise.
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// A row that knows its bytes.
pub trait Row: Sized {
    /// The table's name in messages.
    const WHAT: &'static str;

    /// The bytes under `key` (whole: volume, tag, ids).
    fn encode(&self, key: &[u8]) -> Vec<u8>;

    /// Reads what [`Self::encode`] wrote under the same key.
    ///
    /// # Errors
    /// [`Fatal::Damaged`] if crc, version, length or a value do not fit.
    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal>;
}

/// Bytes alone: symlink targets, extended attributes, storage descriptions; empty where a key
/// says it all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blob(pub Vec<u8>);

impl Row for Blob {
    const WHAT: &'static str = "bytes";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &[], &self.0)
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        Ok(Self(open(Self::WHAT, key, bytes)?.to_vec()))
    }
}

fn crc(key: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // The volume's number is another in another cluster, where the same bytes must fit.
    hasher.update(key.get(key::PREFIX_BYTES - 1..).unwrap_or_default());
    hasher.update(bytes);
    hasher.finalize()
}

/// Puts version, fixed fields, tail and crc together.
fn seal(key: &[u8], fixed: &[u8], tail: &[u8]) -> Vec<u8> {
    seal_version(VERSION, key, fixed, tail)
}

/// [`seal`] for rows of another version.
fn seal_version(version: u8, key: &[u8], fixed: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + fixed.len() + tail.len() + CRC_BYTES);
    bytes.push(version);
    bytes.extend_from_slice(fixed);
    bytes.extend_from_slice(tail);
    let crc = crc(key, &bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn damaged(what: &'static str, key: &[u8], why: &'static str) -> Fatal {
    Fatal::Damaged {
        what,
        key: hex(key),
        why,
    }
}

/// Checks crc and version; what is between them.
fn open<'b>(what: &'static str, key: &[u8], bytes: &'b [u8]) -> Result<&'b [u8], Fatal> {
    match open_versioned(what, key, bytes)? {
        (VERSION, body) => Ok(body),
        _ => Err(damaged(what, key, "of a version unknown here")),
    }
}

/// Checks the crc; the version, and what is between them.
fn open_versioned<'b>(
    what: &'static str,
    key: &[u8],
    bytes: &'b [u8],
) -> Result<(u8, &'b [u8]), Fatal> {
    let (rest, stored) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or_else(|| damaged(what, key, "too short"))?;
    if crc(key, rest) != u32::from_le_bytes(*stored) {
        return Err(damaged(what, key, "crc differs"));
    }
    match rest.split_first() {
        Some((version, body)) => Ok((*version, body)),
        None => Err(damaged(what, key, "too short")),
    }
}

/// [`open`], then the fixed fields and the tail.
fn open_fixed<'b, T>(
    what: &'static str,
    key: &[u8],
    bytes: &'b [u8],
) -> Result<(&'b T, &'b [u8]), Fatal>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    T::ref_from_prefix(open(what, key, bytes)?).map_err(|_| damaged(what, key, "too short"))
}

/// [`open_fixed`] for rows without a tail.
fn open_exact<'b, T>(what: &'static str, key: &[u8], bytes: &'b [u8]) -> Result<&'b T, Fatal>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    let (fixed, tail) = open_fixed(what, key, bytes)?;
    if tail.is_empty() {
        Ok(fixed)
    } else {
        Err(damaged(what, key, "too long"))
    }
}

/// Checks that bytes from outside are a row as some version wrote it under this key: the crc fits.
/// What they mean is not looked at.
///
/// # Errors
/// [`Fatal::Damaged`] if they are not.
pub(crate) fn check_crc(key: &[u8], bytes: &[u8]) -> Result<(), Fatal> {
    open_versioned("row", key, bytes).map(|_| ())
}

/// A point in time as rows hold it.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct RawTime {
    seconds: I64,
    nanos: U32,
}

impl From<Timestamp> for RawTime {
    fn from(time: Timestamp) -> Self {
        Self {
            seconds: time.seconds.into(),
            nanos: time.nanos.into(),
        }
    }
}

impl From<RawTime> for Timestamp {
    fn from(raw: RawTime) -> Self {
        Self {
            seconds: raw.seconds.get(),
            nanos: raw.nanos.get(),
        }
    }
}

#[cfg(test)]
mod frozen_test;
