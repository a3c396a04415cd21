//! Pauses between tries: they double up to a bound, and are spread so that clients which failed
//! together do not come back together.

use crate::deadline::Deadline;
use std::time::Duration;

/// Counts tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self {
            next: first,
            first,
            max,
        }
    }

    /// The next pause: between half and all of what it has grown to.
    pub(crate) fn grow(&mut self) -> Duration {
        let full = self.next;
        self.next = self.max.min(full * 2);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Waits for the next pause, or until the deadline. False if that came first.
    pub(crate) async fn pause(&mut self, deadline: Deadline) -> bool {
        deadline
            .bound(tokio::time::sleep(self.grow()))
            .await
            .is_some()
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let (first, max) = (Duration::from_millis(10), Duration::from_millis(45));
        let mut backoff = Backoff::new(first, max);
        for full in [10, 20, 40, 45, 45] {
            let full = Duration::from_millis(full);
            let pause = backoff.grow();
            assert!(pause <= full && pause >= full / 2, "{pause:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.grow() <= first);
    }
}
