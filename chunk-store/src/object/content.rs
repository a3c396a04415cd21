//! What an object is made of: bytes in memory, or a file that is read a part at a time.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a file in memory at once.
const PART_BYTES: usize = 1 << 20;

/// An object's content. A file must not change meanwhile; where it is read by others does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'c> {
    Bytes(&'c [u8]),
    File(&'c File),
}

impl Content<'_> {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
        }
    }

    /// Writes all of it.
    pub(super) fn write_to(&self, out: &mut File) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::File(file) => parts(file, |part| out.write_all(part)),
        }
    }

    /// Whether a file holds the same; also if there is none.
    pub(super) fn is_or_absent(&self, path: &Path) -> io::Result<bool> {
        let mut there = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            file => file?,
        };
        if there.metadata()?.len() != self.len()? {
            return Ok(false);
        }
        match self {
            Self::Bytes(bytes) => {
                let mut data = Vec::with_capacity(bytes.len());
                there.read_to_end(&mut data)?;
                Ok(data == *bytes)
            }
            Self::File(file) => {
                let (mut same, mut beside) = (true, vec![0; PART_BYTES]);
                parts(file, |part| {
                    let beside = beside.get_mut(..part.len()).unwrap_or_default();
                    there.read_exact(beside)?;
                    same &= *beside == *part;
                    Ok(())
                })?;
                Ok(same)
            }
        }
    }
}

/// Gives a file from its beginning to its end, in order.
fn parts(file: &File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut part, mut offset) = (vec![0; PART_BYTES], 0);
    loop {
        let count = match file.read_at(&mut part, offset) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        each(part.get(..count).unwrap_or_default())?;
        offset += count as u64;
    }
}

/// A range of a file, read where it may block.
pub(super) async fn read_part(file: &Arc<File>, range: Range<u64>) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let read = move || {
        let len = usize::try_from(range.end.saturating_sub(range.start));
        let mut part = vec![0; len.map_err(io::Error::other)?];
        file.read_exact_at(&mut part, range.start)?;
        Ok(Bytes::from(part))
    };
    let read = tokio::task::spawn_blocking(read);
    read.await.map_err(io::Error::other)?
}

/// Bytes of a file, asked where that may block.
pub(super) async fn file_len(file: &Arc<File>) -> io::Result<u64> {
    let file = Arc::clone(file);
    let asked = tokio::task::spawn_blocking(move || file.metadata());
    Ok(asked.await.map_err(io::Error::other)??.len())
}
