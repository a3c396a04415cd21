//! ACLs that the kernel keeps: it does so without a time, and so has to be told to forget them before
//! nothing would tell it of a change any more.

use meta_core::ids::Ino;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// Files of which an ACL is kept at a time, at most.
const FILES_MAX: usize = 4096;
/// The longest time for which one is kept, whatever else is.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Files of which the kernel has got an ACL, or that there is none, and when it is told to forget all
/// of these at once: one timer is enough.
#[derive(Debug, Default)]
pub(super) struct KeptAcls {
    files: HashSet<Ino>,
    due: Option<Instant>,
}

/// What becomes of an ACL that is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// The kernel must not keep it.
    Not,
    /// It is forgotten with others.
    WithOthers,
    /// It and those that follow are to be forgotten then, by whoever gets this.
    Until(Instant),
}

impl KeptAcls {
    /// One of a file's ACLs is answered, of which a change is told for so long.
    pub(super) fn keep(&mut self, file: Ino, told_for: Duration, now: Instant) -> Kept {
        if told_for.is_zero() {
            return Kept::Not;
        }
        // Half of it, so that what forgets may come late.
        let due = now + told_for.min(TIME_MAX) / 2;
        match self.due {
            Some(planned) if planned > due || self.files.len() >= FILES_MAX => Kept::Not,
            Some(_) => {
                self.files.insert(file);
                Kept::WithOthers
            }
            None => {
                self.files.insert(file);
                self.due = Some(due);
                Kept::Until(due)
            }
        }
    }

    /// All that is to be forgotten now. The next one begins anew.
    pub(super) fn take(&mut self) -> HashSet<Ino> {
        self.due = None;
        std::mem::take(&mut self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_forgotten_in_time_and_one_timer_is_enough() {
        let now = Instant::now();
        let (long, short) = (Duration::from_millis(500), Duration::from_millis(100));
        let mut kept = KeptAcls::default();
        assert_eq!(kept.keep(Ino(1), Duration::ZERO, now), Kept::Not);
        assert_eq!(kept.keep(Ino(1), long, now), Kept::Until(now + long / 2));
        assert_eq!(kept.keep(Ino(2), long, now + short), Kept::WithOthers);
        assert_eq!(
            kept.keep(Ino(3), short, now),
            Kept::Not,
            "that were too late"
        );
        assert_eq!(kept.take(), HashSet::from([Ino(1), Ino(2)]));
        assert_eq!(kept.keep(Ino(3), short, now), Kept::Until(now + short / 2));
        for ino in 4..=FILES_MAX as u64 + 2 {
            assert_eq!(kept.keep(Ino(ino), long, now), Kept::WithOthers);
        }
        assert_eq!(kept.keep(Ino(4), long, now), Kept::Not, "too many");
        assert_eq!(kept.take().len(), FILES_MAX);
        let longest = kept.keep(Ino(1), 10 * TIME_MAX, now);
        assert_eq!(longest, Kept::Until(now + TIME_MAX / 2));
    }
}
