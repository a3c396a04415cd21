//! Chunks that could not be compacted, and are passed by for a while.

use meta_core::ids::{ChunkIndex, Ino};
use std::collections::BTreeMap;
use std::time::Instant;

/// Chunks that are remembered. Past it the one goes that is tried again soonest.
const CHUNKS_MAX: usize = 1024;

/// Which chunks are passed by, and until when.
#[derive(Debug, Default)]
pub(super) struct SetAside(BTreeMap<(Ino, ChunkIndex), Instant>);

impl SetAside {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a chunk is passed by at `now`.
    pub(super) fn holds(&self, chunk: (Ino, ChunkIndex), now: Instant) -> bool {
        self.0.get(&chunk).is_some_and(|until| *until > now)
    }

    /// Passes a chunk by until then.
    pub(super) fn put(&mut self, chunk: (Ino, ChunkIndex), until: Instant) {
        if self.0.len() >= CHUNKS_MAX && !self.0.contains_key(&chunk) {
            let soonest = self.0.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(chunk, _)| *chunk) {
                self.0.remove(&soonest);
            }
        }
        self.0.insert(chunk, until);
    }

    /// Forgets those whose time is over.
    pub(super) fn forget_past(&mut self, now: Instant) {
        self.0.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_chunk_is_passed_by_until_its_time_is_over() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let chunk = |ino| (Ino(ino), ChunkIndex(0));
        let mut aside = SetAside::default();
        aside.put(chunk(1), begin + second);
        aside.put(chunk(2), begin + 2 * second);
        assert!(aside.holds(chunk(1), begin) && !aside.holds(chunk(3), begin));
        assert!(!aside.holds(chunk(1), begin + second));
        aside.forget_past(begin + second);
        assert!(aside.holds(chunk(2), begin + second) && !aside.is_empty());
        aside.forget_past(begin + 2 * second);
        assert!(aside.is_empty());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let begin = Instant::now();
        let mut aside = SetAside::default();
        for number in 0..=CHUNKS_MAX as u64 {
            let until = begin + Duration::from_secs(1 + number);
            aside.put((Ino(number), ChunkIndex(7)), until);
        }
        assert_eq!(aside.0.len(), CHUNKS_MAX);
        assert!(!aside.holds((Ino(0), ChunkIndex(7)), begin), "the soonest");
        assert!(aside.holds((Ino(1), ChunkIndex(7)), begin));
    }
}
