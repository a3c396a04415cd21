//! What one direction of a connection has taken and not yet brought.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes in a line; more of them wait where they come from.
const LINE_BYTES: usize = 256 << 10;

/// How long pieces are under way, and where the randomness of it begins.
pub(super) type Slowness = Option<(Duration, u64)>;

/// Pieces under way, in order.
pub(super) struct Line {
    slowness: watch::Receiver<Slowness>,
    /// The number of the direction, among all of a proxy.
    number: u64,
    jitter: Option<StdRng>,
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// When the last piece arrives: none after it comes before it.
    last: Instant,
}

impl Line {
    pub(super) fn new(mut slowness: watch::Receiver<Slowness>, number: u64) -> Self {
        // It is looked at for the first piece.
        slowness.mark_changed();
        Self {
            slowness,
            number,
            jitter: None,
            pieces: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < LINE_BYTES
    }

    /// Takes a piece. Says whether it is slow.
    pub(super) fn push(&mut self, piece: Vec<u8>) -> bool {
        let changed = self.slowness.has_changed().unwrap_or(false);
        let slowness = *self.slowness.borrow_and_update();
        if changed {
            let begin = |(_, seed): (Duration, u64)| seed.wrapping_add(self.number);
            self.jitter = slowness.map(begin).map(StdRng::seed_from_u64);
        }
        let by = slowness.zip(self.jitter.as_mut());
        let by = by.map(|((by, _), jitter)| by.mul_f64(jitter.random_range(0.5..1.5)));
        let due = Instant::now() + by.unwrap_or_default();
        self.last = self.last.max(due);
        self.bytes += piece.len();
        self.pieces.push_back((self.last, piece));
        by.is_some()
    }

    /// Waits until the first piece arrives, and until the link is not silent any more. Given up and
    /// begun anew, it misses nothing. `None` when there is none, or the link is gone.
    pub(super) async fn next(&mut self, held: &mut watch::Receiver<bool>) -> Option<Vec<u8>> {
        let (due, _) = self.pieces.front()?;
        tokio::time::sleep_until(*due).await;
        held.wait_for(|silent| !*silent).await.ok()?;
        let (_, piece) = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_keep_their_order_and_take_their_time() {
        let by = Duration::from_millis(40);
        let slowness = watch::Sender::new(Some((by, 7)));
        let (_held, mut held) = watch::channel(false);
        let mut line = Line::new(slowness.subscribe(), 1);
        let begin = Instant::now();
        for piece in 0..20 {
            assert!(line.push(vec![piece]));
        }
        slowness.send_replace(None);
        assert!(!line.push(vec![20]));
        for piece in 0..=20 {
            assert_eq!(line.next(&mut held).await, Some(vec![piece]));
            assert!(begin.elapsed() >= by / 2, "{:?}", begin.elapsed());
        }
        assert!(line.is_empty() && line.has_room());
        assert_eq!(line.next(&mut held).await, None);
    }

    #[tokio::test]
    async fn a_full_line_takes_no_more() {
        let slowness = watch::Sender::new(None);
        let mut line = Line::new(slowness.subscribe(), 1);
        while line.has_room() {
            line.push(vec![0; 1 << 10]);
        }
        assert_eq!(line.bytes, LINE_BYTES);
    }
}
