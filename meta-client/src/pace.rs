//! How fast the leader is looked for.

use crate::backoff::Backoff;
use std::time::Duration;

/// Between two rounds of greetings, while an election may be under way.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// Rounds without a leader after which there is no hurry any more.
const QUICK_ROUNDS: u32 = 40;
const SLOW_PAUSE: Duration = Duration::from_secs(2);
/// A stream that stood for so long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(1);

/// The pauses of one search after the other.
#[derive(Debug)]
pub(crate) struct Pace {
    quick: Backoff,
    slow: Backoff,
    /// Rounds since a leader was found last.
    missed: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quick: Backoff::new(PAUSE_FIRST, PAUSE_MAX),
            slow: Backoff::new(SLOW_PAUSE, SLOW_PAUSE),
            missed: 0,
        }
    }
}

impl Pace {
    /// Which round this is since a leader was found last, from 1.
    pub(crate) fn round(&self) -> u32 {
        self.missed.saturating_add(1)
    }

    /// A round found no leader: how long to wait before the next.
    pub(crate) fn missed(&mut self) -> Duration {
        self.missed = self.missed.saturating_add(1);
        if self.missed < QUICK_ROUNDS {
            self.quick.grow()
        } else {
            self.slow.grow()
        }
    }

    /// A leader was found and left again, after its stream stood for so long: how long to wait
    /// before the next round. However often leaders change, there was one a moment ago, so the
    /// search never slows down for it.
    pub(crate) fn left(&mut self, stood: Duration) -> Duration {
        self.missed = 0;
        if stood < GOOD_STREAM {
            return self.quick.grow();
        }
        self.quick.reset();
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_without_end_slows_down() {
        let mut pace = Pace::default();
        let quick: Vec<_> = (1..QUICK_ROUNDS).map(|_| pace.missed()).collect();
        assert!(quick.iter().all(|pause| *pause <= PAUSE_MAX), "{quick:?}");
        assert!(pace.missed() >= SLOW_PAUSE / 2);
        assert_eq!(pace.round(), QUICK_ROUNDS + 1);
    }

    #[test]
    fn leaders_that_change_often_are_looked_for_quickly() {
        let mut pace = Pace::default();
        for _change in 0..100 {
            assert!(pace.left(Duration::from_millis(200)) <= PAUSE_MAX);
            for _round in 0..10 {
                assert!(pace.missed() <= PAUSE_MAX);
            }
        }
        assert_eq!(pace.left(GOOD_STREAM), Duration::ZERO);
        assert!(pace.missed() <= PAUSE_FIRST);
    }
}
