//! When a mount offers itself again.

use std::time::Duration;

/// It never asks more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// While another mount does the task, or after a failure, it asks at least so often.
const HELD_LONGEST: Duration = Duration::from_secs(60);
const FAILED_LONGEST: Duration = Duration::from_secs(300);
/// Mounts that wait for the same moment come up to this part of their interval apart.
const SPREAD_PART: u32 = 20;

/// The pauses of a mount that wants a task done once in an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(pub(super) Duration);

impl Pace {
    /// The task is due after `wait`.
    pub(super) fn not_due(self, wait: Duration) -> Duration {
        let spread = (self.0 / SPREAD_PART).min(HELD_LONGEST);
        wait.min(self.0).max(SHORTEST / 10) + spread.mul_f64(rand::random_range(0.0..=1.0))
    }

    /// Another mount does it, and may die.
    pub(super) fn held(self) -> Duration {
        (self.0 / 4).clamp(SHORTEST, HELD_LONGEST)
    }

    /// It went wrong here.
    pub(super) fn failed(self) -> Duration {
        self.0.clamp(SHORTEST, FAILED_LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_interval_within_bounds() {
        let second = Duration::from_secs(1);
        let (short, hour) = (Pace(2 * second), Pace(3600 * second));
        assert_eq!(short.held(), second);
        assert_eq!(hour.held(), 60 * second);
        assert_eq!(short.failed(), 2 * second);
        assert_eq!(hour.failed(), 300 * second);
        for _ in 0..100 {
            let wait = hour.not_due(1000 * second);
            assert!(wait >= 1000 * second && wait <= 1060 * second, "{wait:?}");
            // A clock that tells nonsense does not stop it for ever, nor make it ask without end.
            assert!(hour.not_due(Duration::MAX) <= 3660 * second);
            assert!(short.not_due(Duration::ZERO) >= second / 10);
        }
    }
}
