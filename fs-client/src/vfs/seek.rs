//! Where data and holes begin. What slices cover is data, the rest are holes, and the end of the
//! file is a hole, as POSIX has it.

use super::VfsError;
use super::handle::HandleId;
use super::vfs_core::Vfs;
use meta_core::attr::Caller;
use meta_core::ids::{ChunkIndex, SliceOrder};
use meta_core::limits::CHUNK_BYTES;
use meta_core::query::{Slice, SliceCursor};

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekFor {
    /// The next byte that was written.
    Data,
    /// The next byte that was not, or the end of the file.
    Hole,
}

impl Vfs {
    /// The first place at or behind `offset` of what is looked for.
    ///
    /// # Errors
    /// [`VfsError::NoData`] if `offset` is at or behind the end, or no data follows.
    pub async fn seek(&self, id: HandleId, offset: u64, what: SeekFor) -> Result<u64, VfsError> {
        let inode = self.core.handles.file(id)?.inode.clone();
        self.core.drain(&inode).await;
        let length = self.get_attr(&Caller::root(), inode.ino).await?.length;
        if offset >= length {
            return Err(VfsError::NoData);
        }
        let chunk = |offset: u64| u32::try_from(offset / CHUNK_BYTES).unwrap_or(u32::MAX);
        let end = ChunkIndex(chunk(length - 1).saturating_add(1));
        let mut from = SliceCursor {
            chunk: ChunkIndex(chunk(offset)),
            order: SliceOrder(0),
        };
        // Slices of one chunk come in the order of writes, not of place: a chunk is judged when
        // all of it is here. Whole chunks that are covered are passed.
        let mut at = offset;
        let mut own: Vec<Slice> = Vec::new();
        loop {
            let (_, page, next) = self.core.slices_from(inode.ino, from, end).await?;
            own.extend(page);
            let known_to = next.map_or(end, |next| next.chunk);
            if let Some(found) = search(&own, &mut at, known_to, what) {
                return Ok(found.min(length));
            }
            let Some(next) = next else {
                break;
            };
            own.retain(|slice| slice.chunk >= next.chunk);
            from = next;
        }
        match what {
            SeekFor::Data => Err(VfsError::NoData),
            SeekFor::Hole => Ok(length),
        }
    }
}

/// Looks through the chunks before `known_to`, from `at` on, which moves past what was looked
/// through.
fn search(slices: &[Slice], at: &mut u64, known_to: ChunkIndex, what: SeekFor) -> Option<u64> {
    let bound = u64::from(known_to.0) * CHUNK_BYTES;
    let mut runs: Vec<(u64, u64)> = slices
        .iter()
        .map(|slice| {
            let begin = u64::from(slice.chunk.0) * CHUNK_BYTES + u64::from(slice.at);
            (begin, begin + u64::from(slice.len))
        })
        .filter(|(begin, end)| *end > *at && *begin < bound)
        .collect();
    runs.sort_unstable();
    if what == SeekFor::Data {
        let found = runs.first().map(|(begin, _)| (*begin).max(*at));
        *at = (*at).max(bound);
        return found;
    }
    for (begin, end) in runs {
        if begin > *at {
            return Some(*at);
        }
        *at = (*at).max(end);
    }
    (*at < bound).then_some(*at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::ids::SliceId;

    fn slice(chunk: u32, at: u32, len: u32) -> Slice {
        Slice {
            chunk: ChunkIndex(chunk),
            order: SliceOrder(0),
            id: SliceId(1),
            size: len,
            off: 0,
            len,
            at,
            frame_crcs: Vec::new(),
        }
    }

    #[test]
    fn data_and_holes_are_found_across_chunks() {
        let whole = u32::try_from(CHUNK_BYTES).expect("64 MiB");
        let slices = [
            slice(0, 10, whole - 10),
            slice(1, 0, 5),
            slice(1, 3, 7),
            slice(3, 1, 1),
        ];
        let find = |from: u64, what| {
            let mut at = from;
            search(&slices, &mut at, ChunkIndex(4), what)
        };
        assert_eq!(find(0, SeekFor::Data), Some(10));
        assert_eq!(find(0, SeekFor::Hole), Some(0));
        assert_eq!(find(10, SeekFor::Hole), Some(CHUNK_BYTES + 10));
        assert_eq!(
            find(CHUNK_BYTES + 10, SeekFor::Data),
            Some(3 * CHUNK_BYTES + 1)
        );
        assert_eq!(find(3 * CHUNK_BYTES + 2, SeekFor::Data), None);
    }
}
