//! The bytes of one pending slice: they only grow, until the slice is sealed, and stay until it is
//! committed.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Small writes are gathered into segments of this size, so that a slice of many small writes is
/// not a list of as many allocations.
const SEGMENT_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Content {
    /// Full segments, each with the offset at which it begins.
    segments: Vec<(u32, Bytes)>,
    /// The segment that grows.
    tail: BytesMut,
    len: u32,
    sealed: bool,
}

impl Content {
    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let segment = self.tail.split().freeze();
            let start = self.len - u32::try_from(segment.len()).unwrap_or(self.len);
            self.segments.push((start, segment));
        }
    }
}

/// A growing run of bytes, read by overlays and by the upload while the writer adds to it.
#[derive(Debug, Default)]
pub(super) struct SliceBuffer {
    content: Mutex<Content>,
    changed: Notify,
}

impl SliceBuffer {
    /// Adds bytes. The caller keeps the length below 4 GiB and adds nothing after the seal.
    pub(super) fn push(&self, data: &Bytes) {
        let mut content = self.content.lock();
        debug_assert!(!content.sealed, "a sealed slice grows");
        if data.len() >= SEGMENT_BYTES / 2 && content.tail.is_empty() {
            let start = content.len;
            content.segments.push((start, data.clone()));
            content.len += u32::try_from(data.len()).unwrap_or(0);
        } else {
            content.tail.extend_from_slice(data);
            content.len += u32::try_from(data.len()).unwrap_or(0);
            if content.tail.len() >= SEGMENT_BYTES {
                content.close_tail();
            }
        }
        drop(content);
        self.changed.notify_waiters();
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u32 {
        self.content.lock().len
    }

    /// No more bytes will come.
    pub(super) fn seal(&self) {
        let mut content = self.content.lock();
        content.sealed = true;
        content.close_tail();
        drop(content);
        self.changed.notify_waiters();
    }

    /// Copies the bytes from `offset` on into `out`; both must lie within the length.
    pub(super) fn copy_into(&self, offset: u32, out: &mut [u8]) {
        let content = self.content.lock();
        let mut at = offset;
        let mut done = 0;
        let mut index = content
            .segments
            .partition_point(|(start, _)| *start <= at)
            .saturating_sub(1);
        while done < out.len() {
            let (start, segment): (u32, &[u8]) = match content.segments.get(index) {
                Some((start, segment)) if within(*start, segment.len(), at) => (*start, segment),
                Some(_) | None => {
                    let tail = u32::try_from(content.tail.len()).unwrap_or(0);
                    (content.len - tail, &content.tail)
                }
            };
            let from = (at - start) as usize;
            let count = (segment.len() - from).min(out.len() - done);
            out[done..done + count].copy_from_slice(&segment[from..from + count]);
            done += count;
            at += u32::try_from(count).unwrap_or(0);
            index += 1;
        }
    }

    /// The first `len` bytes of a slice that grows no more, as one that grows no more. Both share them.
    pub(super) fn prefix(&self, len: u32) -> Self {
        let content = self.content.lock();
        debug_assert!(content.sealed, "a slice that grows is cut");
        let mut first = Content {
            sealed: true,
            ..Content::default()
        };
        for (start, segment) in &content.segments {
            let room = len.saturating_sub(*start) as usize;
            if room == 0 {
                break;
            }
            let part = segment.slice(..segment.len().min(room));
            first.len += u32::try_from(part.len()).unwrap_or(0);
            first.segments.push((*start, part));
        }
        Self {
            content: Mutex::new(first),
            changed: Notify::new(),
        }
    }

    /// The segment number `index`: waits until it is full or the slice is sealed; `None` behind
    /// the last one.
    pub(super) async fn segment(&self, index: usize) -> Option<Bytes> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let content = self.content.lock();
                if let Some((_, segment)) = content.segments.get(index) {
                    return Some(segment.clone());
                }
                if content.sealed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

fn within(start: u32, len: usize, at: u32) -> bool {
    at >= start && ((at - start) as usize) < len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_whatever_the_sizes_of_the_writes() {
        let buffer = SliceBuffer::default();
        let mut model = Vec::new();
        for (index, size) in [1, 4096, 600_000, 2 << 20, 7, 1 << 20, 900_000, 3]
            .iter()
            .enumerate()
        {
            let data = Bytes::from(vec![index as u8 + 1; *size]);
            model.extend_from_slice(&data);
            buffer.push(&data);
            let mut out = vec![0; model.len()];
            buffer.copy_into(0, &mut out);
            assert!(out == model, "after write {index}");
        }
        for (from, len) in [
            (0, 10),
            (4090, 20),
            (600_000, 2_000_000),
            (model.len() - 5, 5),
        ] {
            let mut out = vec![0; len];
            buffer.copy_into(from as u32, &mut out);
            assert!(out == model[from..from + len]);
        }
        buffer.seal();
        let mut uploaded = Vec::new();
        let mut index = 0;
        while let Some(segment) = buffer.segment(index).await {
            uploaded.extend_from_slice(&segment);
            index += 1;
        }
        assert!(uploaded == model);
        for len in [1, 4097, 604_097, model.len()] {
            let prefix = buffer.prefix(len as u32);
            assert_eq!(prefix.len() as usize, len);
            let mut out = vec![0; len];
            prefix.copy_into(0, &mut out);
            assert!(out == model[..len], "the first {len} bytes");
            let mut uploaded = Vec::new();
            let mut index = 0;
            while let Some(segment) = prefix.segment(index).await {
                uploaded.extend_from_slice(&segment);
                index += 1;
            }
            assert!(uploaded == model[..len], "the first {len} bytes");
        }
    }
}
