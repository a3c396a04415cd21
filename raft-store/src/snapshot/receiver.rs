//! Makes a snapshot out of the chunks of another node's. Nothing that arrives is trusted.

use super::chunks::SnapshotChunk;
use super::dir::SnapshotDir;
use super::files::SnapshotFiles;
use super::manifest::{FileEntry, MANIFEST_FILE, Manifest};
use crate::durable;
use crate::error::StoreError;
use crate::state::StateReader;
use crate::wire;
use bytes::Bytes;
use meta_core::failpoint::{self, Point};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

/// Takes a snapshot's chunks in order. Dropped before [`Self::finish`], it leaves nothing behind.
/// It writes files: use it on a blocking thread.
#[derive(Debug)]
pub struct SnapshotReceiver {
    target: Target,
    manifest_bytes: Vec<u8>,
    manifest: Option<Manifest>,
    file_index: usize,
    current: Option<Incoming>,
}

#[derive(Debug)]
enum Target {
    Memory(BTreeMap<String, Bytes>),
    Dir {
        /// Obsolete until the snapshot is complete, so that a receiver given up cleans up.
        dir: SnapshotDir,
        /// What the directory is called once it is complete.
        complete: PathBuf,
    },
}

#[derive(Debug)]
struct Incoming {
    entry: FileEntry,
    offset: u64,
    hasher: crc32fast::Hasher,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Memory(Vec<u8>),
    File(File, PathBuf),
}

fn refuse<T>(why: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Snapshot(why.into()))
}

impl SnapshotReceiver {
    /// Begins to receive a snapshot for the store of `reader`.
    ///
    /// # Errors
    /// [`StoreError::File`] if there is no place for it; [`StoreError::Poisoned`].
    pub fn begin(reader: &StateReader) -> Result<Self, StoreError> {
        reader.state.receive()
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(Target::Memory(BTreeMap::new()))
    }

    /// Receives into the new directory `incoming`, which becomes `complete`.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn in_dir(incoming: PathBuf, complete: PathBuf) -> Result<Self, StoreError> {
        std::fs::create_dir(&incoming).map_err(StoreError::file("create", &incoming))?;
        let dir = SnapshotDir::new(incoming);
        dir.set_obsolete(true);
        Ok(Self::new(Target::Dir { dir, complete }))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            manifest_bytes: vec![],
            manifest: None,
            file_index: 0,
            current: None,
        }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`] for a chunk that is not the next one, is damaged, or is not in
    /// the manifest; [`StoreError::File`] if it cannot be written. The receiver is then useless.
    pub fn push(&mut self, chunk: SnapshotChunk) -> Result<(), StoreError> {
        if crc32fast::hash(&chunk.data) != chunk.crc32 {
            return refuse(format!("a chunk of {} is damaged", chunk.file));
        }
        if self.manifest.is_none() {
            return self.push_manifest(chunk);
        }
        let mut incoming = match self.current.take() {
            Some(incoming) => incoming,
            None => self.open_next()?,
        };
        if chunk.file != incoming.entry.name || chunk.offset != incoming.offset {
            return refuse(format!(
                "{} at {} came where {} at {} was expected",
                chunk.file, chunk.offset, incoming.entry.name, incoming.offset
            ));
        }
        failpoint::pass(Point::ReceiveWrite);
        incoming.write(&chunk.data)?;
        if incoming.offset < incoming.entry.bytes {
            self.current = Some(incoming);
            return Ok(());
        }
        self.close(incoming)
    }

    /// What the next piece must be of, once the manifest is there: a file, where in it, and how much
    /// of it is left. Nothing when all is there.
    pub(crate) fn expected(&self) -> Option<(String, usize, usize)> {
        let (entry, offset) = match &self.current {
            Some(incoming) => (&incoming.entry, incoming.offset),
            None => (self.manifest.as_ref()?.files.get(self.file_index)?, 0),
        };
        let left = usize::try_from(entry.bytes - offset).unwrap_or(usize::MAX);
        Some((entry.name.clone(), usize::try_from(offset).ok()?, left))
    }

    fn push_manifest(&mut self, chunk: SnapshotChunk) -> Result<(), StoreError> {
        if chunk.file != MANIFEST_FILE || chunk.offset != self.manifest_bytes.len() as u64 {
            return refuse(format!("{} came before the manifest", chunk.file));
        }
        self.manifest_bytes.extend_from_slice(&chunk.data);
        let whole = wire::whole_length(&self.manifest_bytes);
        let whole = whole.map_err(|error| StoreError::Snapshot(error.to_string()))?;
        match whole {
            Some(length) if self.manifest_bytes.len() >= length => {
                let manifest: Manifest = wire::decode(&self.manifest_bytes)
                    .map_err(|error| StoreError::Snapshot(error.to_string()))?;
                manifest.check_names()?;
                failpoint::pass(Point::ReceiveManifest);
                self.manifest = Some(manifest);
                Ok(())
            }
            _ if chunk.data.is_empty() => refuse("its manifest has an empty piece"),
            _ => Ok(()),
        }
    }

    fn open_next(&mut self) -> Result<Incoming, StoreError> {
        let files = self
            .manifest
            .as_ref()
            .map_or(&[][..], |manifest| &manifest.files);
        let Some(entry) = files.get(self.file_index).cloned() else {
            return refuse("more came than its manifest lists");
        };
        self.file_index += 1;
        let sink = match &self.target {
            Target::Memory(_) => Sink::Memory(Vec::new()),
            Target::Dir { dir, .. } => {
                let path = dir.path().join(&entry.name);
                let file = File::create_new(&path).map_err(StoreError::file("create", &path))?;
                Sink::File(file, path)
            }
        };
        Ok(Incoming {
            entry,
            offset: 0,
            hasher: crc32fast::Hasher::new(),
            sink,
        })
    }

    fn close(&mut self, incoming: Incoming) -> Result<(), StoreError> {
        let Incoming {
            entry,
            offset,
            hasher,
            sink,
        } = incoming;
        if offset != entry.bytes || hasher.finalize() != entry.crc32 {
            return refuse(format!("its file {} is damaged", entry.name));
        }
        match (sink, &mut self.target) {
            (Sink::Memory(bytes), Target::Memory(files)) => {
                files.insert(entry.name, bytes.into());
            }
            (Sink::File(file, path), _) => {
                file.sync_all().map_err(StoreError::file("sync", &path))?;
                failpoint::pass(Point::ReceiveFile);
            }
            (Sink::Memory(_), Target::Dir { .. }) => {}
        }
        Ok(())
    }

    /// Ends a complete snapshot.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`] if something is missing; [`StoreError::File`].
    pub fn finish(self) -> Result<SnapshotFiles, StoreError> {
        let Some(manifest) = self.manifest else {
            return refuse("it ended before its manifest");
        };
        if self.current.is_some() || self.file_index != manifest.files.len() {
            return refuse("it ended early");
        }
        match self.target {
            Target::Memory(files) => Ok(SnapshotFiles::in_memory(manifest, files)),
            Target::Dir { dir, complete } => {
                durable::write_file(&dir.path().join(MANIFEST_FILE), &self.manifest_bytes)?;
                durable::sync_dir(dir.path())?;
                failpoint::pass(Point::ReceiveFinish);
                std::fs::rename(dir.path(), &complete)
                    .map_err(StoreError::file("rename", dir.path()))?;
                failpoint::pass(Point::ReceiveRenamed);
                durable::sync_parent(&complete)?;
                let received = SnapshotDir::new(complete);
                // It goes away with its user unless it is installed.
                received.set_obsolete(true);
                Ok(SnapshotFiles::in_dir(manifest, received))
            }
        }
    }
}

impl Incoming {
    fn write(&mut self, data: &[u8]) -> Result<(), StoreError> {
        let end = self.offset + data.len() as u64;
        if end > self.entry.bytes {
            return refuse(format!(
                "{} is longer than its manifest says",
                self.entry.name
            ));
        }
        if data.is_empty() && self.entry.bytes > 0 {
            return refuse(format!("{} has an empty piece", self.entry.name));
        }
        match &mut self.sink {
            Sink::Memory(bytes) => bytes.extend_from_slice(data),
            Sink::File(file, path) => {
                file.write_all(data)
                    .map_err(StoreError::file("write", path))?;
            }
        }
        self.hasher.update(data);
        self.offset = end;
        Ok(())
    }
}

#[cfg(test)]
#[path = "receiver_test.rs"]
mod tests;
