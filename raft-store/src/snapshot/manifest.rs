//! The table of contents of a snapshot.

use crate::error::StoreError;
use crate::state::AppliedState;
use crate::types::{LogId, SnapshotMeta, StoredMembership};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The manifest's own name: it is the first file that is sent.
pub(crate) const MANIFEST_FILE: &str = "CURLEW-MANIFEST";
/// No snapshot has more files: at 64 MiB a file this is 4 TiB.
const FILES_MAX: usize = 1 << 16;
const NAME_BYTES_MAX: usize = 128;

/// What kind of store made a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Source {
    /// A store in memory: one file of rows.
    Rows,
    /// A RocksDB checkpoint.
    Checkpoint,
}

/// One file of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

/// What a snapshot stands for and which files it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) source: Source,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) files: Vec<FileEntry>,
}

impl Manifest {
    pub(crate) fn new(source: Source, state: AppliedState, files: Vec<FileEntry>) -> Self {
        let AppliedState {
            applied,
            membership,
        } = state;
        Self {
            source,
            applied,
            membership,
            files,
        }
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Refuses a manifest that names files outside its directory, or too many.
    pub(crate) fn check_names(&self) -> Result<(), StoreError> {
        let refuse = |why: String| Err(StoreError::Snapshot(why));
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return refuse(format!("it has {} files", self.files.len()));
        }
        let mut seen = BTreeSet::new();
        for FileEntry { name, .. } in &self.files {
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let sound = !name.is_empty()
                && name.len() <= NAME_BYTES_MAX
                && !name.starts_with('.')
                && name.bytes().all(plain)
                && name != MANIFEST_FILE;
            if !sound {
                return refuse(format!("{name:?} is no name for a file of a snapshot"));
            }
            if !seen.insert(name) {
                return refuse(format!("it names {name} twice"));
            }
        }
        Ok(())
    }

    /// Refuses a snapshot that is not what Raft announced.
    pub(crate) fn check_meta(&self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        if self.meta() == *meta {
            return Ok(());
        }
        Err(StoreError::Snapshot(format!(
            "it holds {}, but {meta} was announced",
            self.meta()
        )))
    }

    /// Refuses a snapshot whose rows stand for another position than its manifest says.
    pub(crate) fn check_state(&self, state: &AppliedState) -> Result<(), StoreError> {
        if self.applied == state.applied && self.membership == state.membership {
            return Ok(());
        }
        Err(StoreError::Snapshot(format!(
            "its rows are at {:?}, its manifest says {:?}",
            state.applied, self.applied
        )))
    }
}
