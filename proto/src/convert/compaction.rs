//! Slices that several places share, and many that become few.

use super::{Convert, list, need, sixteen};
use crate::error::ConvertError;
use crate::v1;
use meta_core::attr::Timestamp;
use meta_core::command::{CopyRange, Operation};
use meta_core::compaction::{Compact, Effort};
use meta_core::ids::{ChunkIndex, Ino, SliceOrder};
use meta_core::limits::{ACCESSED_MAX, COMPACT_ROWS_MAX};
use meta_core::query::{QueryBody, Slice};

impl From<&CopyRange> for v1::CopyRange {
    fn from(word: &CopyRange) -> Self {
        let CopyRange {
            from,
            offset,
            to,
            to_offset,
            len,
        } = *word;
        Self {
            from: from.0,
            offset,
            to: to.0,
            to_offset,
            len,
        }
    }
}

impl Convert<CopyRange> for v1::CopyRange {
    fn convert(self) -> Result<CopyRange, ConvertError> {
        Ok(CopyRange {
            from: Ino(self.from),
            offset: self.offset,
            to: Ino(self.to),
            to_offset: self.to_offset,
            len: self.len,
        })
    }
}

impl From<&Compact> for v1::Compact {
    fn from(word: &Compact) -> Self {
        let Compact {
            ino,
            chunk,
            first,
            last,
            seen,
            slices,
        } = word;
        Self {
            ino: ino.0,
            chunk: chunk.0,
            first: first.0,
            last: last.0,
            seen: seen.to_le_bytes().to_vec(),
            slices: slices.iter().map(Into::into).collect(),
        }
    }
}

impl Convert<Compact> for v1::Compact {
    fn convert(self) -> Result<Compact, ConvertError> {
        Ok(Compact {
            ino: Ino(self.ino),
            chunk: ChunkIndex(self.chunk),
            first: SliceOrder(self.first),
            last: SliceOrder(self.last),
            seen: u128::from_le_bytes(sixteen(&self.seen, "Compact.seen")?),
            slices: list(self.slices, "Compact.slices", COMPACT_ROWS_MAX)?,
        })
    }
}

pub(super) fn accessed(files: &[(Ino, Timestamp)]) -> v1::Accessed {
    let files = files.iter().map(|(ino, at)| v1::AccessedFile {
        ino: ino.0,
        at: Some((*at).into()),
    });
    v1::Accessed {
        files: files.collect(),
    }
}

impl Convert<Operation> for v1::Accessed {
    fn convert(self) -> Result<Operation, ConvertError> {
        let files = list(self.files, "Accessed.files", ACCESSED_MAX)?;
        Ok(Operation::Accessed { files })
    }
}

impl Convert<(Ino, Timestamp)> for v1::AccessedFile {
    fn convert(self) -> Result<(Ino, Timestamp), ConvertError> {
        Ok((Ino(self.ino), need(self.at, "AccessedFile.at")?))
    }
}

fn chunk_place((ino, chunk): (Ino, ChunkIndex)) -> v1::ChunkPlace {
    v1::ChunkPlace {
        ino: ino.0,
        chunk: chunk.0,
    }
}

pub(super) fn chunks(places: &[(Ino, ChunkIndex)]) -> v1::Chunks {
    v1::Chunks {
        chunks: places.iter().copied().map(chunk_place).collect(),
    }
}

pub(super) fn compaction(slices: &[Slice]) -> v1::Compaction {
    v1::Compaction {
        slices: slices.iter().map(Into::into).collect(),
    }
}

impl Convert<(Ino, ChunkIndex)> for v1::ChunkPlace {
    fn convert(self) -> Result<(Ino, ChunkIndex), ConvertError> {
        Ok((Ino(self.ino), ChunkIndex(self.chunk)))
    }
}

pub(super) fn ask(after: (Ino, ChunkIndex), count_max: u32) -> v1::AskCompactable {
    v1::AskCompactable {
        after: Some(chunk_place(after)),
        count_max,
    }
}

impl Convert<QueryBody> for v1::AskCompactable {
    fn convert(self) -> Result<QueryBody, ConvertError> {
        Ok(QueryBody::Compactable {
            after: need(self.after, "AskCompactable.after")?,
            count_max: self.count_max,
        })
    }
}

pub(super) fn plan_compaction(ino: Ino, chunk: ChunkIndex, effort: Effort) -> v1::PlanCompaction {
    v1::PlanCompaction {
        ino: ino.0,
        chunk: chunk.0,
        all: effort == Effort::All,
    }
}

impl Convert<QueryBody> for v1::PlanCompaction {
    fn convert(self) -> Result<QueryBody, ConvertError> {
        Ok(QueryBody::PlanCompaction {
            ino: Ino(self.ino),
            chunk: ChunkIndex(self.chunk),
            effort: if self.all {
                Effort::All
            } else {
                Effort::Enough
            },
        })
    }
}
