//! When a mount offers itself again.

use std::time::Duration;

/// It never asks more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// While another mount does the task, or after a failure, it asks at least so often.
const HELD_LONGEST: Duration = Duration::from_secs(60);
const FAILED_LONGEST: Duration = Duration::from_secs(300);
/// Mounts that wait for the same moment come up to this part of their interval apart.
const SPREAD_PART: u32 = 20;

/// The clocks of metadata nodes may be so far apart while all is well.
const APART_MAX: Duration = Duration::from_secs(2);
/// So many answers in a row that are like the one before come of a clock that stands still. With
/// intervals that are not too short, what mounts wait by chance keeps the answers of a clock that
/// goes further apart.
const SAME_TIMES: u32 = 2;
const SAME: Duration = Duration::from_millis(10);
const SAME_INTERVAL: Duration = Duration::from_secs(600);

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

/// Why no mount is given the task though time passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClockDoubt {
    /// It was done last at a time that is so far ahead of now.
    Ahead(Duration),
    /// The volume's time stands still. It never goes back, and waits for a clock that did.
    Still,
}

/// What answers that the task is not due tell of the cluster's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockWatch {
    last: Option<Duration>,
    same: u32,
    is_told: bool,
}

impl ClockWatch {
    /// Takes in that the task is due after `wait`. Tells of a doubt once, until an answer gives no
    /// reason for any.
    pub(super) fn not_due(&mut self, pace: Pace, wait: Duration) -> Option<ClockDoubt> {
        let last = self.last.replace(wait);
        let is_same = last.is_some_and(|last| last.abs_diff(wait) <= SAME);
        self.same = if is_same { self.same + 1 } else { 0 };
        // It is due an interval after it was done: not later, unless that was in the future.
        let ahead = wait.saturating_sub(pace.0);
        let doubt = if ahead > APART_MAX {
            Some(ClockDoubt::Ahead(ahead))
        } else if self.same >= SAME_TIMES && pace.0 >= SAME_INTERVAL {
            Some(ClockDoubt::Still)
        } else {
            None
        };
        let was_told = std::mem::replace(&mut self.is_told, doubt.is_some());
        doubt.filter(|_| !was_told)
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

    #[test]
    fn a_task_that_was_done_in_the_future_is_told_once() {
        let second = Duration::from_secs(1);
        let hour = Pace(3600 * second);
        let mut watch = ClockWatch::default();
        // Another leader's clock may be a little behind.
        for wait in [0_u32, 1800, 3600, 3601] {
            assert_eq!(watch.not_due(hour, wait * second), None);
        }
        let ahead = watch.not_due(hour, 3700 * second);
        assert_eq!(ahead, Some(ClockDoubt::Ahead(100 * second)));
        for wait in [3690_u32, 3650, 3610, 3500] {
            assert_eq!(watch.not_due(hour, wait * second), None);
        }
        let again = watch.not_due(hour, Duration::MAX);
        let years = Duration::MAX - 3600 * second;
        assert_eq!(again, Some(ClockDoubt::Ahead(years)));
    }

    #[test]
    fn a_time_that_stands_still_is_told_once() {
        let second = Duration::from_secs(1);
        let (hour, short) = (Pace(3600 * second), Pace(60 * second));
        let mut watch = ClockWatch::default();
        let mut told = Vec::new();
        for wait in [3400_u32, 3400, 3500, 3500, 3500, 3500, 3500] {
            told.push(watch.not_due(hour, wait * second));
        }
        let still = told.iter().position(Option::is_some);
        assert_eq!((still, told[4]), (Some(4), Some(ClockDoubt::Still)));
        assert_eq!(told.iter().flatten().count(), 1, "{told:?}");
        // With a short interval it may be by chance.
        let mut watch = ClockWatch::default();
        for _ in 0..10 {
            assert_eq!(watch.not_due(short, 30 * second), None);
        }
    }
}
