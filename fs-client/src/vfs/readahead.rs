//! Reading ahead of a handle that reads in order.

use super::VfsError;
use super::handle::FileHandle;
use super::inode::{Inode, View};
use super::reader::size;
use super::vfs_core::Core;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use meta_core::attr::Timestamp;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::OwnedSemaphorePermit;

/// Reads count as in order when they begin this near to where the last ended: the kernel sends
/// several at once, and they overtake each other.
const SLACK_BYTES: u64 = 1 << 20;
/// Bytes read in order before anything is read ahead.
const RUN_BYTES_MIN: u64 = 256 << 10;
/// The unit of read-ahead: one request to the object store, or a few.
const SPAN_BYTES: u64 = 1 << 20;

type Fetched = Shared<BoxFuture<'static, Result<Bytes, VfsError>>>;

/// A span on its way or here.
#[derive(Debug)]
struct Span {
    version: Timestamp,
    bytes: Fetched,
    _room: OwnedSemaphorePermit,
}

/// What a handle has read lately, and what it will probably read.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// Where the next read in order begins.
    expected: u64,
    /// Bytes read in order so far.
    run: u64,
    /// By number: the file offset divided by the span's size.
    spans: BTreeMap<u64, Span>,
}

impl ReadAhead {
    /// Notes a read. Gives how far behind it to read ahead.
    fn note(&mut self, range: &Range<u64>, bytes_max: u64) -> u64 {
        let near = range.start.abs_diff(self.expected) <= SLACK_BYTES;
        let in_order = near && (self.run > 0 || range.start == self.expected);
        if in_order {
            self.run = self.run.saturating_add(range.end - range.start);
            self.expected = self.expected.max(range.end);
        } else {
            self.run = 0;
            self.expected = range.end;
            self.spans.clear();
        }
        if self.run < RUN_BYTES_MIN {
            0
        } else {
            self.run.min(bytes_max)
        }
    }

    /// Lets go of spans that were read, and of those of another state.
    fn tidy(&mut self, version: Timestamp) {
        let behind = self.expected.saturating_sub(2 * SLACK_BYTES) / SPAN_BYTES;
        self.spans
            .retain(|number, span| *number >= behind && span.version == version);
    }
}

impl Core {
    /// Reads what is committed, from what was read ahead where it was, and reads further ahead.
    pub(super) async fn read_ahead(
        self: &Arc<Self>,
        handle: &FileHandle,
        view: &View,
        range: Range<u64>,
    ) -> Result<Bytes, VfsError> {
        let parts = {
            let mut ahead = handle.readahead.lock();
            let window = ahead.note(&range, u64::from(self.options.readahead_bytes));
            ahead.tidy(view.version);
            if window > 0 {
                let until = range.end.saturating_add(window).min(view.committed);
                self.extend(&handle.inode, &mut ahead, view.version, range.end..until);
            }
            parts(&ahead, &range)
        };
        if let [(part, None)] = parts.as_slice() {
            return self
                .read_committed(&handle.inode, part.clone(), view.version)
                .await;
        }
        let mut out = BytesMut::with_capacity(size(&range));
        for (part, span) in parts {
            let bytes = self.part(handle, view, part, span).await?;
            if out.is_empty() && bytes.len() == size(&range) {
                return Ok(bytes);
            }
            out.extend_from_slice(&bytes);
        }
        Ok(out.freeze())
    }

    async fn part(
        &self,
        handle: &FileHandle,
        view: &View,
        part: Range<u64>,
        span: Option<Fetched>,
    ) -> Result<Bytes, VfsError> {
        // What failed ahead is tried again here, where the error has somebody to be told to.
        if let Some(span) = span
            && let Ok(bytes) = span.await
        {
            let from = size(&(part.start / SPAN_BYTES * SPAN_BYTES..part.start));
            let to = from + size(&part);
            if to <= bytes.len() {
                self.stats.readahead_hits.fetch_add(1, Relaxed);
                return Ok(bytes.slice(from..to));
            }
        }
        self.read_committed(&handle.inode, part, view.version).await
    }

    /// Begins to fetch the spans of a range that are not there, as far as there is room.
    fn extend(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        ahead: &mut ReadAhead,
        version: Timestamp,
        range: Range<u64>,
    ) {
        let committed = inode.lock().known.length;
        for number in range.start / SPAN_BYTES..range.end.div_ceil(SPAN_BYTES) {
            if ahead.spans.contains_key(&number) {
                continue;
            }
            let begin = number * SPAN_BYTES;
            let span = begin..(begin + SPAN_BYTES).min(committed);
            let Ok(bytes) = u32::try_from(size(&span)) else {
                return;
            };
            let room = Arc::clone(&self.readahead).try_acquire_many_owned(bytes);
            let (Ok(room), false) = (room, span.is_empty()) else {
                return;
            };
            let (core, inode) = (Arc::clone(self), Arc::clone(inode));
            let task =
                tokio::spawn(async move { core.read_committed(&inode, span, version).await });
            let bytes = async move { task.await.map_err(VfsError::unavailable)? };
            ahead.spans.insert(
                number,
                Span {
                    version,
                    bytes: bytes.boxed().shared(),
                    _room: room,
                },
            );
        }
    }
}

/// Cuts a range at the borders of spans that are there or on their way.
fn parts(ahead: &ReadAhead, range: &Range<u64>) -> Vec<(Range<u64>, Option<Fetched>)> {
    let mut parts: Vec<(Range<u64>, Option<Fetched>)> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let number = at / SPAN_BYTES;
        let end = ((number + 1) * SPAN_BYTES).min(range.end);
        let span = ahead.spans.get(&number).map(|span| span.bytes.clone());
        match (parts.last_mut(), span) {
            (Some((last, None)), None) => last.end = end,
            (_, span) => parts.push((at..end, span)),
        }
        at = end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_in_order_open_the_window() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.note(&(0..131_072), 1 << 24), 0);
        assert_eq!(ahead.note(&(131_072..262_144), 1 << 24), 262_144);
        // One that overtook another still counts.
        assert!(ahead.note(&(393_216..524_288), 1 << 24) > 0);
        assert!(ahead.note(&(262_144..393_216), 1 << 24) > 0);
        assert_eq!(ahead.note(&(1 << 30..(1 << 30) + 4096), 1 << 24), 0);
        assert_eq!(ahead.note(&(5..9), 1 << 24), 0);
    }
}
