//! What was done lately, line by line, for `.accesslog`.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<String>,
    /// The number of the first line in the ring.
    first: u64,
}

/// A ring of lines with any number of readers; a reader that is too slow is told how many lines
/// it missed.
#[derive(Debug)]
pub struct AccessLog {
    ring: Mutex<Ring>,
    grown: Notify,
    lines_max: usize,
}

impl AccessLog {
    pub(super) fn new(lines_max: usize) -> Self {
        Self {
            ring: Mutex::default(),
            grown: Notify::new(),
            lines_max: lines_max.max(1),
        }
    }

    /// Adds a line, behind the time of day in seconds since 1970.
    pub fn add(&self, line: std::fmt::Arguments<'_>) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let line = format!("{}.{:06} {line}\n", now.as_secs(), now.subsec_micros());
        let mut ring = self.ring.lock();
        if ring.lines.len() == self.lines_max {
            ring.lines.pop_front();
            ring.first += 1;
        }
        ring.lines.push_back(line);
        drop(ring);
        self.grown.notify_waiters();
    }

    /// Lines from number `from` on, at most `bytes_max` bytes together but at least one line, and
    /// the number to go on from. Waits up to `patience` for one; an empty answer says that none
    /// came.
    pub async fn read(&self, from: u64, bytes_max: usize, patience: Duration) -> (String, u64) {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if let Some(lines) = self.take(from, bytes_max) {
                return lines;
            }
            if tokio::time::timeout_at(deadline, grown).await.is_err() {
                return (String::new(), from);
            }
        }
    }

    fn take(&self, from: u64, bytes_max: usize) -> Option<(String, u64)> {
        let ring = self.ring.lock();
        let begin = from.max(ring.first);
        let skip = usize::try_from(begin - ring.first).unwrap_or(usize::MAX);
        let mut text = String::new();
        if begin > from && from > 0 {
            text = format!("# {} lines were dropped before this\n", begin - from);
        }
        let mut next = begin;
        for line in ring.lines.iter().skip(skip) {
            if next > begin && text.len() + line.len() > bytes_max {
                break;
            }
            text.push_str(line);
            next += 1;
        }
        (next > begin).then_some((text, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let log = AccessLog::new(3);
        log.add(format_args!("first"));
        let (text, next) = log.read(0, 1 << 16, Duration::ZERO).await;
        assert!(text.ends_with("first\n"), "{text}");
        for index in 0..5 {
            log.add(format_args!("line {index}"));
        }
        let (text, next) = log.read(next, 1 << 16, Duration::ZERO).await;
        assert!(text.starts_with("# 2 lines were dropped"), "{text}");
        assert_eq!(text.lines().count(), 4);
        let (text, _) = log.read(next, 1 << 16, Duration::ZERO).await;
        assert!(text.is_empty());
    }
}
