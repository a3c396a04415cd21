//! Reads what is there, through a client that had no part in writing it.

use super::Appended;
use anyhow::{Context, Result, bail};
use meta_client::MetaSession;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::ids::{ChunkIndex, DentryNumber, Ino};
use meta_client::meta_core::limits::CHUNK_BYTES;
use meta_client::meta_core::query::{Answer, QueryBody, SliceCursor};

/// Names of one page.
const PAGE: u32 = 500;

/// All names of a directory, in the order in which it lists them.
///
/// # Errors
/// When it cannot be read.
pub async fn names(session: &MetaSession, dir: Ino) -> Result<Vec<(String, Ino)>> {
    let mut all = Vec::new();
    let mut after = DentryNumber(0);
    loop {
        let body = QueryBody::ReadDir {
            ino: dir,
            after,
            entries_max: PAGE,
            with_attrs: false,
        };
        let answer = session
            .query(Caller::root(), body)
            .await
            .context("cannot list")?;
        let Answer::Entries { entries, end, .. } = answer else {
            bail!("a listing was answered with {answer:?}")
        };
        if let Some(last) = entries.last() {
            after = last.number;
        } else if !end {
            bail!("a page of a directory is empty and not the last");
        }
        all.extend(
            entries
                .into_iter()
                .map(|entry| (entry.name.to_string(), entry.ino)),
        );
        if end {
            return Ok(all);
        }
    }
}

/// All slices of a file, and its length.
///
/// # Errors
/// When they cannot be read.
pub async fn appended(session: &MetaSession, ino: Ino) -> Result<(Vec<Appended>, u64)> {
    let mut all: Vec<Appended> = Vec::new();
    let mut from = SliceCursor::default();
    loop {
        let body = QueryBody::ReadSlices {
            ino,
            from,
            end: ChunkIndex(u32::MAX),
        };
        let answer = session
            .query(Caller::root(), body)
            .await
            .context("cannot read slices")?;
        let Answer::Slices { attr, slices, next } = answer else {
            bail!("a read of slices was answered with {answer:?}")
        };
        for slice in slices {
            let offset = u64::from(slice.chunk.0) * CHUNK_BYTES + u64::from(slice.at);
            // A slice over a chunk's border is stored as two parts: one again here.
            match all.last_mut() {
                Some(last) if last.id == slice.id && slice.off == last.len => {
                    last.len += slice.len;
                }
                _ => all.push(Appended {
                    offset,
                    len: slice.len,
                    id: slice.id,
                }),
            }
        }
        match next {
            Some(cursor) => from = cursor,
            None => return Ok((all, attr.length)),
        }
    }
}
