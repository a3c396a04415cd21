//! The state in memory, over a simulated disk: for tests and simulations.

use super::marks::AppliedState;
use crate::error::StoreError;
use crate::simulated::SimDisk;
use crate::snapshot::{FileEntry, Manifest, SnapshotFiles, Source};
use bytes::Bytes;
use meta_core::key::FIRST_LOCAL_TAG;
use meta_core::kv::{Family, MemKv, Writes};
use meta_core::seeded::{Bug, has};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;

/// The snapshot's only file: rows as `family u8 | key length u32 LE | value length u32 LE | key |
/// value`.
const ROWS_FILE: &str = "rows";
const ROW_HEADER_BYTES: usize = 9;

/// Rows, of which the disk has those that were flushed last.
#[derive(Debug)]
pub(crate) struct MemoryState {
    rows: RwLock<MemKv>,
    disk: SimDisk,
    /// A row that a seeded bug takes out of the next snapshot.
    last: Mutex<Option<(Family, Vec<u8>)>>,
}

impl MemoryState {
    /// The state as the disk has it.
    pub(crate) fn open(disk: SimDisk) -> Self {
        let rows = RwLock::new(disk.flushed(Clone::clone));
        Self {
            rows,
            disk,
            last: Mutex::default(),
        }
    }

    pub(crate) fn with_rows<R>(&self, read: impl FnOnce(&MemKv) -> R) -> R {
        read(&self.rows.read())
    }

    pub(crate) fn write(&self, writes: Writes) {
        let last = lost_key(&writes);
        self.rows.write().write(writes);
        if self.disk.flushes_now() {
            self.flush();
            if has(Bug::FlushLosesRow)
                && let Some(key) = last
            {
                let mut rows = self.rows.read().clone();
                rows.write(Writes::from([(key, None)]));
                self.disk.flush(&rows);
                return;
            }
        }
        if has(Bug::SnapshotLosesRow) && last.is_some() {
            *self.last.lock() = last;
        }
    }

    pub(crate) fn flush(&self) {
        self.disk.flush(&self.rows.read());
    }

    /// The position of the rows on the disk.
    pub(crate) fn flushed(&self) -> Result<AppliedState, StoreError> {
        self.disk.flushed(|rows| AppliedState::read(rows))
    }

    pub(crate) fn current_snapshot(&self) -> Option<SnapshotFiles> {
        self.disk.snapshot()
    }

    pub(crate) fn build_snapshot(&self) -> Result<SnapshotFiles, StoreError> {
        let (bytes, state) = {
            let mut rows = self.rows.read().clone();
            if let Some(key) = self.last.lock().take() {
                rows.write(Writes::from([(key, None)]));
            }
            (encode_rows(&rows), AppliedState::read(&rows)?)
        };
        let file = FileEntry {
            name: String::from(ROWS_FILE),
            bytes: bytes.len() as u64,
            crc32: crc32fast::hash(&bytes),
        };
        let manifest = Manifest::new(Source::Rows, state, vec![file]);
        let content = BTreeMap::from([(String::from(ROWS_FILE), bytes)]);
        let files = SnapshotFiles::in_memory(manifest, content);
        self.disk.keep_snapshot(files.clone());
        Ok(files)
    }

    /// Replaces everything by what the snapshot holds.
    pub(crate) fn install(&self, files: SnapshotFiles) -> Result<AppliedState, StoreError> {
        files.verify()?;
        let bytes = files.memory_file(ROWS_FILE).ok_or_else(|| {
            StoreError::Snapshot(String::from("it was not made by a store in memory"))
        })?;
        let rows = decode_rows(&bytes)
            .ok_or_else(|| StoreError::Snapshot(String::from("its rows are malformed")))?;
        let state = AppliedState::read(&rows)?;
        files.manifest().check_state(&state)?;
        *self.rows.write() = rows.clone();
        self.disk.install(rows, files);
        Ok(state)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.with_rows(|rows| {
            let families = [Family::State, Family::Changelog].map(|family| rows.rows(family));
            families
                .iter()
                .flat_map(|rows| rows.iter())
                .map(|(k, v)| (k.len() + v.len()) as u64)
                .sum()
        })
    }
}

/// A replicated row of a volume that was written: what seeded bugs lose. The marks of the store have a volume's
/// number that no volume has.
fn lost_key(writes: &Writes) -> Option<(Family, Vec<u8>)> {
    if !has(Bug::FlushLosesRow) && !has(Bug::SnapshotLosesRow) {
        return None;
    }
    let mut rows = writes.iter().rev();
    let found = rows.find(|((family, key), value)| {
        let of_volume = key
            .first_chunk()
            .is_some_and(|v| *v != [0; 4] && *v != [0xff; 4]);
        let replicated = key.get(4).is_some_and(|table| *table < FIRST_LOCAL_TAG);
        *family == Family::State && of_volume && replicated && value.is_some()
    });
    found.map(|(key, _)| key.clone())
}

const fn family_number(family: Family) -> u8 {
    match family {
        Family::State => 0,
        Family::Changelog => 1,
    }
}

fn encode_rows(rows: &MemKv) -> Bytes {
    let mut bytes = Vec::new();
    for family in [Family::State, Family::Changelog] {
        for (key, value) in rows.rows(family) {
            bytes.push(family_number(family));
            // Rows are far below 4 GiB: a command is bounded by the size of a message.
            bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
        }
    }
    bytes.into()
}

fn decode_rows(mut bytes: &[u8]) -> Option<MemKv> {
    let mut writes = Writes::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_first_chunk::<ROW_HEADER_BYTES>()?;
        let [family, k0, k1, k2, k3, v0, v1, v2, v3] = *header;
        let family = match family {
            0 => Family::State,
            1 => Family::Changelog,
            _ => return None,
        };
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes([k0, k1, k2, k3]) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes([v0, v1, v2, v3]) as usize)?;
        writes.insert((family, key.to_vec()), Some(value.to_vec()));
        bytes = rest;
    }
    let mut rows = MemKv::default();
    rows.write(writes);
    Some(rows)
}
