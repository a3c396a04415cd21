//! A snapshot cut into pieces for the network.

use super::files::SnapshotFiles;
use super::manifest::{FileEntry, MANIFEST_FILE};
use crate::wire;
use bytes::Bytes;
use std::fmt;
use std::io::{self, Read};

const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 8 << 20;

/// A piece of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotChunk {
    /// The file's name.
    pub file: String,
    /// Where in the file the piece begins.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// Their crc.
    pub crc32: u32,
}

/// The pieces of a snapshot in order: the manifest, then its files. Ends with the first error. A
/// file that is not what the manifest says is an error, so damage is not passed on.
pub struct SnapshotChunks {
    files: SnapshotFiles,
    chunk_bytes: usize,
    next_file: usize,
    open: Option<OpenFile>,
    started: bool,
    failed: bool,
}

struct OpenFile {
    entry: FileEntry,
    reader: Box<dyn Read + Send>,
    offset: u64,
    hasher: crc32fast::Hasher,
}

impl fmt::Debug for SnapshotChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotChunks")
            .field("next_file", &self.next_file)
            .finish_non_exhaustive()
    }
}

impl SnapshotChunks {
    pub(crate) fn new(files: SnapshotFiles, chunk_bytes: usize) -> Self {
        let chunk_bytes = chunk_bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        Self {
            files,
            chunk_bytes,
            next_file: 0,
            open: None,
            started: false,
            failed: false,
        }
    }

    fn open_manifest(&self) -> io::Result<OpenFile> {
        let bytes = wire::encode(self.files.manifest()).map_err(io::Error::other)?;
        let entry = FileEntry {
            name: String::from(MANIFEST_FILE),
            bytes: bytes.len() as u64,
            crc32: crc32fast::hash(&bytes),
        };
        Ok(OpenFile::new(entry, Box::new(io::Cursor::new(bytes))))
    }

    /// The file to read from, or nothing if all are read.
    fn open_next(&mut self) -> io::Result<Option<OpenFile>> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        if !self.started {
            self.started = true;
            return self.open_manifest().map(Some);
        }
        let Some(entry) = self.files.manifest().files.get(self.next_file).cloned() else {
            return Ok(None);
        };
        self.next_file += 1;
        let reader = self.files.open_file(&entry.name)?;
        Ok(Some(OpenFile::new(entry, reader)))
    }

    fn next_chunk(&mut self) -> io::Result<Option<SnapshotChunk>> {
        let Some(mut open) = self.open_next()? else {
            return Ok(None);
        };
        let chunk = open.read(self.chunk_bytes)?;
        if open.offset < open.entry.bytes {
            self.open = Some(open);
        } else {
            open.finish()?;
        }
        Ok(Some(chunk))
    }
}

impl Iterator for SnapshotChunks {
    type Item = io::Result<SnapshotChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_chunk().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl OpenFile {
    fn new(entry: FileEntry, reader: Box<dyn Read + Send>) -> Self {
        Self {
            entry,
            reader,
            offset: 0,
            hasher: crc32fast::Hasher::new(),
        }
    }

    fn damaged(&self) -> io::Error {
        io::Error::other(format!(
            "the snapshot's file {} is damaged",
            self.entry.name
        ))
    }

    /// The next piece; an empty file has one, empty piece.
    fn read(&mut self, chunk_bytes: usize) -> io::Result<SnapshotChunk> {
        let left = self.entry.bytes - self.offset;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(chunk_bytes);
        let mut data = vec![0; length];
        self.reader
            .read_exact(&mut data)
            .map_err(|_short| self.damaged())?;
        self.hasher.update(&data);
        let chunk = SnapshotChunk {
            file: self.entry.name.clone(),
            offset: self.offset,
            crc32: crc32fast::hash(&data),
            data: data.into(),
        };
        self.offset += length as u64;
        Ok(chunk)
    }

    fn finish(self) -> io::Result<()> {
        if self.hasher.clone().finalize() == self.entry.crc32 {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }
}
