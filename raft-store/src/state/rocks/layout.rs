//! The names in a store's directory, and what a start does with those it finds.

use crate::durable;
use crate::error::StoreError;
use crate::snapshot::{MANIFEST_FILE, Manifest, SnapshotDir, SnapshotFiles};
use crate::state::Current;
use crate::types::LogId;
use crate::wire;
use std::fs;
use std::path::{Path, PathBuf};

const CURRENT_FILE: &str = "CURRENT";
const GENERATION: &str = "gen-";
const SNAPSHOT: &str = "snapshot-";
const BUILDING: &str = "building-";
const INCOMING: &str = "incoming-";

/// The directories of one store.
#[derive(Debug)]
pub(super) struct Layout {
    state: PathBuf,
    snapshots: PathBuf,
}

impl Layout {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let layout = Self {
            state: dir.join("state"),
            snapshots: dir.join("snapshots"),
        };
        durable::make_dir(&layout.state)?;
        durable::make_dir(&layout.snapshots)?;
        Ok(layout)
    }

    pub(super) fn generation(&self, number: u64) -> PathBuf {
        self.state.join(format!("{GENERATION}{number:010}"))
    }

    pub(super) fn snapshot(&self, number: u64) -> PathBuf {
        self.snapshots.join(format!("{SNAPSHOT}{number:010}"))
    }

    pub(super) fn building(&self, number: u64) -> PathBuf {
        self.snapshots.join(format!("{BUILDING}{number:010}"))
    }

    pub(super) fn incoming(&self, number: u64) -> PathBuf {
        self.snapshots.join(format!("{INCOMING}{number:010}"))
    }

    /// Whether a snapshot's directory is one of this store.
    pub(super) fn owns(&self, snapshot: &Path) -> bool {
        snapshot.parent() == Some(self.snapshots.as_path())
    }

    /// The number of the current generation, if a store was ever made here.
    pub(super) fn read_current(&self) -> Result<Option<u64>, StoreError> {
        let path = self.state.join(CURRENT_FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let current: Current = wire::decode(&bytes).map_err(|error| {
                    StoreError::damaged("file state/CURRENT", error.to_string())
                })?;
                let dir = self.generation(current.generation);
                if !dir.is_dir() {
                    let why = format!("{} is missing", dir.display());
                    return Err(StoreError::damaged("state", why));
                }
                Ok(Some(current.generation))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("read", &path)(error)),
        }
    }

    /// Points to another generation: from one moment to the next, for every later start.
    pub(super) fn write_current(&self, generation: u64) -> Result<(), StoreError> {
        let bytes = wire::encode(&Current { generation })
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        durable::replace_file(&self.state.join(CURRENT_FILE), &bytes)
    }

    /// Removes what an interrupted install left, and the old state after a finished one.
    pub(super) fn remove_other_generations(&self, current: u64) -> Result<(), StoreError> {
        let keep = self.generation(current);
        for path in entries(&self.state)? {
            if file_name(&path).starts_with(GENERATION) && path != keep {
                tracing::info!(dir = %path.display(), "removing a state that is not current");
                durable::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    /// The latest complete snapshot that the state covers; everything else is removed. Also the
    /// first number that no directory has.
    pub(super) fn find_snapshot(
        &self,
        applied: Option<LogId>,
    ) -> Result<(Option<SnapshotFiles>, u64), StoreError> {
        let mut best: Option<SnapshotFiles> = None;
        let mut next_number = 1;
        for path in entries(&self.snapshots)? {
            let name = file_name(&path);
            let Some(number) = number_in(&name) else {
                continue;
            };
            next_number = next_number.max(number.saturating_add(1));
            let found = if name.starts_with(SNAPSHOT) {
                load(&path)
            } else {
                None
            };
            let better = |files: &SnapshotFiles| {
                let at = files.manifest().applied;
                at <= applied
                    && best
                        .as_ref()
                        .is_none_or(|best| best.manifest().applied < at)
            };
            match found.filter(better) {
                Some(files) => {
                    if let Some(dir) = best.replace(files).as_ref().and_then(SnapshotFiles::dir) {
                        dir.set_obsolete(true);
                    }
                }
                None => durable::remove_dir(&path)?,
            }
        }
        Ok((best, next_number))
    }

    /// What the file system has left for this process.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let stats = rustix::fs::statvfs(&self.state).ok()?;
        Some(stats.f_bavail.saturating_mul(stats.f_frsize))
    }
}

/// A snapshot's files, if all are there. What they hold is checked when it is read.
fn load(path: &Path) -> Option<SnapshotFiles> {
    let bytes = fs::read(path.join(MANIFEST_FILE)).ok()?;
    let manifest: Manifest = wire::decode(&bytes).ok()?;
    manifest.check_names().ok()?;
    let complete = manifest
        .files
        .iter()
        .all(|file| fs::metadata(path.join(&file.name)).is_ok_and(|meta| meta.len() == file.bytes));
    complete.then(|| SnapshotFiles::in_dir(manifest, SnapshotDir::new(path.to_path_buf())))
}

/// The number of a directory that this store made.
fn number_in(name: &str) -> Option<u64> {
    let prefixes = [SNAPSHOT, BUILDING, INCOMING];
    prefixes
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?
        .parse()
        .ok()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    listed.map_err(StoreError::file("list", dir))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
