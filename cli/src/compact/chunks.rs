//! Which chunks of a file have several slices.

use meta_client::{ClientError, Failure, MetaSession};
use meta_core::attr::Caller;
use meta_core::ids::{ChunkIndex, Ino, SliceOrder};
use meta_core::query::{Answer, QueryBody, Slice, SliceCursor};

/// Behind the last chunk of every file.
const END: ChunkIndex = ChunkIndex(u32::MAX);

/// Goes through a file's slices, page by page. A long file that is mostly holes has few.
#[derive(Debug)]
pub(super) struct Chunks {
    ino: Ino,
    /// Where the next page begins; `None` at the end.
    from: Option<SliceCursor>,
    /// The chunk of the last slice, and whether it was told.
    last: Option<(ChunkIndex, bool)>,
}

impl Chunks {
    pub(super) fn of(ino: Ino) -> Self {
        Self {
            ino,
            from: Some(SliceCursor::default()),
            last: None,
        }
    }

    /// Those of the next page, each once; `None` at the end.
    ///
    /// # Errors
    /// As the session's queries.
    pub(super) async fn next(
        &mut self,
        session: &MetaSession,
    ) -> Result<Option<Vec<ChunkIndex>>, ClientError> {
        let Some(from) = self.from else {
            return Ok(None);
        };
        let body = QueryBody::ReadSlices {
            ino: self.ino,
            from,
            end: END,
        };
        match session.query(Caller::root(), body).await? {
            Answer::Slices { slices, next, .. } if next.is_none_or(|next| next > from) => {
                Ok(Some(self.take(&slices, next)))
            }
            _ => Err(Failure::BadReply("an answer to another question".to_owned()).into()),
        }
    }

    fn take(&mut self, page: &[Slice], next: Option<SliceCursor>) -> Vec<ChunkIndex> {
        let mut found = Vec::new();
        for slice in page {
            match self.last {
                Some((chunk, is_told)) if chunk == slice.chunk => {
                    if !is_told {
                        found.push(chunk);
                    }
                    self.last = Some((chunk, true));
                }
                _ => self.last = Some((slice.chunk, false)),
            }
        }
        // What else a chunk has that was told need not be read.
        let is_told = |next: &SliceCursor| self.last == Some((next.chunk, true));
        self.from = match next.filter(is_told) {
            Some(next) => next.chunk.0.checked_add(1).map(|chunk| SliceCursor {
                chunk: ChunkIndex(chunk),
                order: SliceOrder(0),
            }),
            None => next,
        };
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::ids::SliceId;

    fn slice(chunk: u32, order: u64) -> Slice {
        Slice {
            chunk: ChunkIndex(chunk),
            order: SliceOrder(order),
            id: SliceId(order),
            size: 1,
            off: 0,
            len: 1,
            at: 0,
            frame_crcs: Vec::new(),
        }
    }

    fn cursor(chunk: u32, order: u64) -> SliceCursor {
        SliceCursor {
            chunk: ChunkIndex(chunk),
            order: SliceOrder(order),
        }
    }

    #[test]
    fn chunks_with_several_slices_are_told_once_across_pages() {
        let mut chunks = Chunks::of(Ino(7));
        let page = [
            slice(0, 0),
            slice(2, 1),
            slice(2, 5),
            slice(2, 6),
            slice(9, 2),
        ];
        let told = chunks.take(&page, Some(cursor(9, 3)));
        assert_eq!(told, [ChunkIndex(2)]);
        assert_eq!(chunks.from, Some(cursor(9, 3)));
        let told = chunks.take(&[slice(9, 3), slice(9, 4)], Some(cursor(9, 7)));
        assert_eq!(told, [ChunkIndex(9)]);
        assert_eq!(chunks.from, Some(cursor(10, 0)), "what is known is passed");
        assert_eq!(chunks.take(&[slice(11, 8)], None), []);
        assert_eq!(chunks.from, None);
    }
}
