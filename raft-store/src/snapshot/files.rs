//! A finished snapshot.

use super::chunks::SnapshotChunks;
use super::dir::SnapshotDir;
use super::manifest::{FileEntry, Manifest};
use crate::error::StoreError;
use crate::types::SnapshotMeta;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

const READ_BYTES: usize = 256 << 10;

/// The files of a snapshot and what they stand for. Cheap to clone; the files stay as long as a
/// clone does.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    manifest: Arc<Manifest>,
    content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Dir(Arc<SnapshotDir>),
    Memory(Arc<BTreeMap<String, Bytes>>),
}

impl SnapshotFiles {
    pub(crate) fn in_memory(manifest: Manifest, files: BTreeMap<String, Bytes>) -> Self {
        Self {
            manifest: Arc::new(manifest),
            content: Content::Memory(Arc::new(files)),
        }
    }

    pub(crate) fn in_dir(manifest: Manifest, dir: SnapshotDir) -> Self {
        Self {
            manifest: Arc::new(manifest),
            content: Content::Dir(Arc::new(dir)),
        }
    }

    /// What the snapshot stands for.
    pub fn meta(&self) -> SnapshotMeta {
        self.manifest.meta()
    }

    /// Refuses what is said of the snapshot if the snapshot itself says something else. Ask before
    /// Raft takes it in: it has no way back then.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`] says what differs.
    pub fn check_meta(&self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        self.manifest.check_meta(meta)
    }

    /// The bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.manifest.total_bytes()
    }

    /// The snapshot in pieces of about `chunk_bytes`, for a [`super::SnapshotReceiver`]. Reads
    /// files: iterate on a blocking thread.
    pub fn chunks(&self, chunk_bytes: usize) -> SnapshotChunks {
        SnapshotChunks::new(self.clone(), chunk_bytes)
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory of the files, if they are on a disk.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn dir(&self) -> Option<&Arc<SnapshotDir>> {
        match &self.content {
            Content::Dir(dir) => Some(dir),
            Content::Memory(_) => None,
        }
    }

    pub(crate) fn memory_file(&self, name: &str) -> Option<Bytes> {
        match &self.content {
            Content::Dir(_) => None,
            Content::Memory(files) => files.get(name).cloned(),
        }
    }

    pub(crate) fn open_file(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        match &self.content {
            Content::Dir(dir) => Ok(Box::new(File::open(dir.path().join(name))?)),
            Content::Memory(files) => {
                let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
                Ok(Box::new(io::Cursor::new(bytes)))
            }
        }
    }

    /// Reads every file and compares it with the manifest.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        self.manifest.check_names()?;
        for FileEntry { name, bytes, crc32 } in &self.manifest.files {
            let hashed = self.open_file(name).and_then(hash);
            let (got_bytes, got_crc32) = hashed.map_err(|error| {
                StoreError::Snapshot(format!("its file {name} cannot be read: {error}"))
            })?;
            if (got_bytes, got_crc32) != (*bytes, *crc32) {
                return Err(StoreError::Snapshot(format!("its file {name} is damaged")));
            }
        }
        Ok(())
    }
}

/// The length and crc of what can be read.
fn hash(mut file: impl Read) -> io::Result<(u64, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok((bytes, hasher.finalize()));
        }
        bytes += got as u64;
        hasher.update(&buffer[..got]);
    }
}

/// The manifest's entry for a file on the disk.
pub(crate) fn hash_file(path: &Path, name: &str) -> Result<FileEntry, StoreError> {
    let hashed = File::open(path).and_then(hash);
    let (bytes, crc32) = hashed.map_err(StoreError::file("read", path))?;
    Ok(FileEntry {
        name: name.to_owned(),
        bytes,
        crc32,
    })
}
