//! Rows of a volume as a whole.

use super::totals::RawLimit;
use super::{RawTime, Row, VERSION as FIRST_VERSION, damaged, open_exact, open_fixed};
use super::{open_versioned, seal, seal_version};
use crate::attr::Timestamp;
use crate::digest::Digest;
use crate::ids::{ClusterId, Epoch, Ino, Level, Seq, Uuid, VolumeUuid};
use crate::outcome::{Fatal, Token};
use crate::quota::Limit;
use std::collections::BTreeMap;
use zerocopy::byteorder::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Id counters and totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// The counter part of the next inode's id.
    pub next_ino: u64,
    /// The counter part of the next slice's id.
    pub next_slice: u64,
    /// Files of every kind.
    pub inodes: u64,
    /// Bytes of regular files, each rounded up to 4 KiB.
    pub bytes: u64,
    /// Files without names.
    pub orphans: u64,
    /// Slices that wait for their deletion.
    pub pending_slices: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// What a volume has from level 4 on.
    pub quota: QuotaState,
    /// Clones with copies that nobody sees: that are made, or go again; none below level 6.
    pub clones: u32,
}

/// How far files are in the totals, and what is limited. All zero below level 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuotaState {
    /// Files with lower ids are in the totals of the directories above them.
    pub counted: Ino,
    /// Files with lower ids are in the totals of their owners; 0 until an owner is first limited.
    pub owners_counted: Ino,
    /// Directories with a limit.
    pub limited_directories: u64,
    /// The most that the whole volume may be.
    pub limit: Limit,
}

/// The version of counters with a state of quotas.
const VERSION: u8 = 2;
/// The version of counters of a volume in which something is being cloned.
const CLONING_VERSION: u8 = 3;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCounters {
    next_ino: U64,
    next_slice: U64,
    inodes: U64,
    bytes: U64,
    orphans: U64,
    pending_slices: U64,
    pending_bytes: U64,
}

/// What a row of version 2 has behind the fields of version 1.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCounters2 {
    first: RawCounters,
    counted: U64,
    owners_counted: U64,
    limited_directories: U64,
    limit: RawLimit,
}

/// What a row of version 3 has behind the fields of version 2.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCounters3 {
    second: RawCounters2,
    clones: U32,
}

impl Row for Counters {
    const WHAT: &'static str = "counters";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawCounters {
            next_ino: self.next_ino.into(),
            next_slice: self.next_slice.into(),
            inodes: self.inodes.into(),
            bytes: self.bytes.into(),
            orphans: self.orphans.into(),
            pending_slices: self.pending_slices.into(),
            pending_bytes: self.pending_bytes.into(),
        };
        if self.quota == QuotaState::default() && self.clones == 0 {
            return seal(key, raw.as_bytes(), &[]);
        }
        let raw = RawCounters2 {
            first: raw,
            counted: self.quota.counted.0.into(),
            owners_counted: self.quota.owners_counted.0.into(),
            limited_directories: self.quota.limited_directories.into(),
            limit: self.quota.limit.into(),
        };
        if self.clones == 0 {
            return seal_version(VERSION, key, raw.as_bytes(), &[]);
        }
        let raw = RawCounters3 {
            second: raw,
            clones: self.clones.into(),
        };
        seal_version(CLONING_VERSION, key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let wrong = |what| damaged(Self::WHAT, key, what);
        match open_versioned(Self::WHAT, key, bytes)? {
            (FIRST_VERSION, body) => {
                let raw = RawCounters::ref_from_bytes(body);
                Ok(raw.map_err(|_| wrong("of another length"))?.read())
            }
            (VERSION, body) => {
                let raw = RawCounters2::ref_from_bytes(body);
                let read = raw.map_err(|_| wrong("of another length"))?.read();
                if read.quota == QuotaState::default() {
                    return Err(wrong("says nothing of what its version is for"));
                }
                Ok(read)
            }
            (CLONING_VERSION, body) => {
                let raw = RawCounters3::ref_from_bytes(body);
                let raw = raw.map_err(|_| wrong("of another length"))?;
                let clones = raw.clones.get();
                if clones == 0 {
                    return Err(wrong("says nothing of what its version is for"));
                }
                Ok(Self {
                    clones,
                    ..raw.second.read()
                })
            }
            _ => Err(wrong("of a version unknown here")),
        }
    }
}

impl RawCounters {
    fn read(&self) -> Counters {
        Counters {
            next_ino: self.next_ino.get(),
            next_slice: self.next_slice.get(),
            inodes: self.inodes.get(),
            bytes: self.bytes.get(),
            orphans: self.orphans.get(),
            pending_slices: self.pending_slices.get(),
            pending_bytes: self.pending_bytes.get(),
            quota: QuotaState::default(),
            clones: 0,
        }
    }
}

impl RawCounters2 {
    fn read(&self) -> Counters {
        let quota = QuotaState {
            counted: Ino(self.counted.get()),
            owners_counted: Ino(self.owners_counted.get()),
            limited_directories: self.limited_directories.get(),
            limit: self.limit.into(),
        };
        Counters {
            quota,
            ..self.first.read()
        }
    }
}

/// What a volume was formatted with, and its level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its name for ever.
    pub uuid: VolumeUuid,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Its level.
    pub level: Level,
    /// When it was made.
    pub created: Timestamp,
    /// Its name.
    pub name: String,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSettings {
    uuid: [u8; 16],
    block_bytes: U32,
    level: U32,
    created: RawTime,
}

impl Row for Settings {
    const WHAT: &'static str = "settings";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawSettings {
            uuid: self.uuid.0,
            block_bytes: self.block_bytes.into(),
            level: self.level.0.into(),
            created: self.created.into(),
        };
        seal(key, raw.as_bytes(), self.name.as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, name): (&RawSettings, _) = open_fixed(Self::WHAT, key, bytes)?;
        Ok(Self {
            uuid: Uuid(raw.uuid),
            block_bytes: raw.block_bytes.get(),
            level: Level(raw.level.get()),
            created: raw.created.into(),
            name: String::from_utf8(name.to_vec())
                .map_err(|_| damaged(Self::WHAT, key, "the name is not text"))?,
        })
    }
}

/// An ownership of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochOpened {
    /// The cluster that opened it.
    pub cluster: ClusterId,
    /// The last change before it; 0 for the first.
    pub last: Seq,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEpochOpened {
    cluster: [u8; 16],
    last: U64,
}

impl Row for EpochOpened {
    const WHAT: &'static str = "epoch";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawEpochOpened {
            cluster: self.cluster.0,
            last: self.last.0.into(),
        };
        seal(key, raw.as_bytes(), &[])
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let raw: &RawEpochOpened = open_exact(Self::WHAT, key, bytes)?;
        Ok(Self {
            cluster: Uuid(raw.cluster),
            last: Seq(raw.last.get()),
        })
    }
}

/// A volume's position in its history, on this side.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// Epoch and seq of the last change.
    pub token: Token,
    /// CRC of the last record.
    pub record_crc: u32,
    /// The stamp of the last change.
    pub stamp: Timestamp,
    /// The oldest retained record; one past the newest if there is none.
    pub changelog_first: Seq,
    /// Bytes of all retained records.
    pub changelog_bytes: u64,
    /// The digest of each replicated table that ever had a row, by tag.
    pub digests: BTreeMap<u8, Digest>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHead {
    epoch: U16,
    seq: U64,
    record_crc: U32,
    stamp: RawTime,
    changelog_first: U64,
    changelog_bytes: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDigest {
    table: u8,
    sum: U128,
}

impl Head {
    /// The digest of all replicated rows.
    pub fn digest(&self) -> Digest {
        let mut all = Digest::default();
        self.digests.values().for_each(|table| all.add(table.0));
        all
    }
}

impl Row for Head {
    const WHAT: &'static str = "head";

    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let raw = RawHead {
            epoch: self.token.epoch.0.into(),
            seq: self.token.seq.0.into(),
            record_crc: self.record_crc.into(),
            stamp: self.stamp.into(),
            changelog_first: self.changelog_first.0.into(),
            changelog_bytes: self.changelog_bytes.into(),
        };
        let digests: Vec<RawDigest> = self
            .digests
            .iter()
            .map(|(table, digest)| RawDigest {
                table: *table,
                sum: digest.0.into(),
            })
            .collect();
        seal(key, raw.as_bytes(), digests.as_bytes())
    }

    fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, Fatal> {
        let (raw, digests): (&RawHead, _) = open_fixed(Self::WHAT, key, bytes)?;
        let digests = <[RawDigest]>::ref_from_bytes(digests)
            .map_err(|_| damaged(Self::WHAT, key, "digests are cut"))?;
        Ok(Self {
            token: Token {
                epoch: Epoch(raw.epoch.get()),
                seq: Seq(raw.seq.get()),
            },
            record_crc: raw.record_crc.get(),
            stamp: raw.stamp.into(),
            changelog_first: Seq(raw.changelog_first.get()),
            changelog_bytes: raw.changelog_bytes.get(),
            digests: digests
                .iter()
                .map(|raw| (raw.table, Digest(raw.sum.get())))
                .collect(),
        })
    }
}
