//! How long, and how often, a failing store is tried again.

use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const DOUBLINGS_MAX: u32 = 8;

/// The time that one piece of work (a block's upload, the parts of one read together, a download) has
/// from its first failure on.
#[derive(Debug)]
pub struct RetryBudget {
    limit: Duration,
    deadline: OnceLock<Instant>,
}

impl RetryBudget {
    /// One that nothing has failed in yet.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            deadline: OnceLock::new(),
        }
    }

    /// How long to wait after the given failed attempt (the first is 1); `None` if the time is
    /// over.
    pub fn pause(&self, attempt: u32) -> Option<Duration> {
        let now = Instant::now();
        let deadline = *self.deadline.get_or_init(|| now + self.limit);
        let left = deadline.saturating_duration_since(now);
        let doublings = attempt.saturating_sub(1).min(DOUBLINGS_MAX);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        (!left.is_zero()).then(|| spread(pause).min(left))
    }
}

/// Somewhere from half of a pause to all of it: those that failed together must not come back
/// together.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_budget() {
        let budget = RetryBudget::new(Duration::from_secs(3600));
        for (attempt, longest) in [
            (1, FIRST_PAUSE),
            (3, FIRST_PAUSE * 4),
            (1_000_000, LONGEST_PAUSE),
        ] {
            let pauses = (0..100).map(|_| budget.pause(attempt).expect("time is left"));
            let pauses: Vec<_> = pauses.collect();
            let bounds = longest / 2..=longest;
            assert!(
                pauses.iter().all(|pause| bounds.contains(pause)),
                "{pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "all alike");
        }
        assert_eq!(RetryBudget::new(Duration::ZERO).pause(1), None);
    }
}
