//! When a mount looks again for chunks to compact.

use std::time::Duration;

/// It looks neither more often nor more seldom than this.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(86_400);
/// After so many failures in a row the pause grows no more.
const DOUBLINGS_MAX: u32 = 4;
/// So many intervals go by before something is tried again that will not be better soon.
const SELDOM: u32 = 30;
/// A mount waits for another one that is at it for so many intervals at most: that one may be done long before
/// its lease is over.
const HELD_MAX: u32 = 6;

/// The pauses of a mount that looks once in an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks(Duration);

impl Looks {
    pub(super) fn every(interval: Duration) -> Self {
        Self(interval.clamp(SHORTEST, LONGEST / SELDOM))
    }

    /// All that there was to do is done.
    pub(super) fn done(self) -> Duration {
        spread(self.0)
    }

    /// Another mount is at it, whose lease is over in `retry` if it falls silent. Many mounts that all want
    /// it would be many commands.
    pub(super) fn held(self, retry: Duration) -> Duration {
        spread(retry.clamp(self.0, self.0 * HELD_MAX))
    }

    /// The cluster or the store has failed so many times in a row.
    pub(super) fn failed(self, times: u32) -> Duration {
        let longer = self.0 * (1_u32 << times.min(DOUBLINGS_MAX));
        spread(longer)
    }

    /// The cluster does not know of compaction: it must be upgraded first.
    pub(super) fn not_known(self) -> Duration {
        spread(self.seldom())
    }

    /// How long a chunk that cannot be compacted is passed by: what is damaged or missing seldom comes back.
    pub(super) fn seldom(self) -> Duration {
        self.0 * SELDOM
    }
}

/// Mounts that were started together come apart.
fn spread(pause: Duration) -> Duration {
    pause + pause.mul_f64(rand::random_range(0.0..=0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_interval_within_bounds() {
        let second = Duration::from_secs(1);
        let looks = Looks::every(10 * second);
        for _ in 0..100 {
            let done = looks.done();
            assert!(done >= 10 * second && done <= 15 * second, "{done:?}");
            assert!(looks.held(second) >= 10 * second);
            assert!(looks.held(Duration::MAX) <= 90 * second);
            assert!(looks.failed(1) >= 20 * second && looks.failed(1) <= 30 * second);
            assert!(looks.failed(u32::MAX) <= 240 * second);
            assert!(looks.not_known() >= 300 * second);
        }
        assert_eq!(looks.seldom(), 300 * second);
        // What makes no sense is brought within bounds.
        let never = Looks::every(Duration::MAX);
        assert!(never.failed(9) <= 2 * LONGEST && never.not_known() <= 2 * LONGEST);
        assert!(Looks::every(Duration::ZERO).done() >= SHORTEST);
    }
}
