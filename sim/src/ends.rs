//! Why nodes end by themselves, and which faults wait for a disk's next writes. A fault that waits
//! has not happened yet: a crash of the host takes it back.
//!
//! Two reasons are right, and each has its fault. The disk failed a write, and the store goes no
//! further. Or what is on the disk is not what was written, which is seen when the whole log is read
//! at a start; the data is given up then. Nothing else may end a node. One that was taken out goes
//! on, one whose disk is new starts as any other does, a snapshot that does not fit is refused, and
//! Raft stops only with its store.

use crate::member::{DAMAGED, DISK_FAILED};
use std::collections::{BTreeMap, BTreeSet};

/// The name of a write that fails, among the faults.
pub(crate) const FAILING: &str = "failing-disk";

/// What was done to disks that is still to be met.
#[derive(Default)]
pub(crate) struct Ends {
    /// Hosts with damage on their disks that nobody has found yet.
    damaged: BTreeSet<String>,
    /// Hosts whose disk will fail a write.
    failing: BTreeSet<String>,
    /// Hosts whose disk will stand still, and the name of that fault.
    halting: BTreeMap<String, &'static str>,
    /// How often nodes ended by themselves, by reason.
    counts: BTreeMap<String, u32>,
}

/// What the end of a node was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The fault that waited on its disk happened.
    DiskFailed,
    /// Its data was damaged, and it saw that.
    FoundDamage,
    /// No fault explains it, in words.
    Unexplained(String),
}

impl Ends {
    /// The disk of this host is damaged.
    pub(crate) fn damage(&mut self, host: &str) {
        self.damaged.insert(host.to_owned());
    }

    /// Whether there is damage on this host that nobody has found yet.
    pub(crate) fn is_damaged(&self, host: &str) -> bool {
        self.damaged.contains(host)
    }

    /// A later write of this host's disk will fail.
    pub(crate) fn arm_failure(&mut self, host: &str) {
        self.failing.insert(host.to_owned());
    }

    /// This host's disk will stand still at a later write. It knows one such place only, the last.
    pub(crate) fn arm_halt(&mut self, host: &str, kind: &'static str) {
        self.halting.insert(host.to_owned(), kind);
    }

    /// The disk of this host stands still: the fault that this is.
    pub(crate) fn halted(&mut self, host: &str) -> Option<&'static str> {
        self.halting.remove(host)
    }

    /// The host crashed: its disk has forgotten what it was to do.
    pub(crate) fn crashed(&mut self, host: &str) {
        self.failing.remove(host);
        self.halting.remove(host);
    }

    /// A node ended by itself for this reason. Counts it, and says what it was.
    pub(crate) fn judge(&mut self, host: &str, reason: &str) -> End {
        let (name, end) = if reason == DISK_FAILED && self.failing.remove(host) {
            (FAILING, End::DiskFailed)
        } else if reason.starts_with(DAMAGED) && self.damaged.remove(host) {
            // Which entry it was is another each time.
            (DAMAGED, End::FoundDamage)
        } else {
            let what = if reason.starts_with(DAMAGED) {
                "gave up data that nobody damaged"
            } else {
                "ended, and no fault explains it"
            };
            (reason, End::Unexplained(format!("{host} {what}: {reason}")))
        };
        *self.counts.entry(name.to_owned()).or_default() += 1;
        end
    }

    /// How often nodes ended by themselves, by reason.
    pub(crate) fn counts(&self) -> &BTreeMap<String, u32> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unexplained(end: &End, words: &str) -> bool {
        matches!(end, End::Unexplained(what) if what.starts_with(words))
    }

    #[test]
    fn a_disk_that_was_to_fail_explains_one_end() {
        let mut ends = Ends::default();
        ends.arm_failure("n1");
        let other = ends.judge("n2", DISK_FAILED);
        assert!(is_unexplained(&other, "n2 ended"), "{other:?}");
        assert_eq!(ends.judge("n1", DISK_FAILED), End::DiskFailed);
        let again = ends.judge("n1", DISK_FAILED);
        assert!(is_unexplained(&again, "n1 ended"), "{again:?}");
    }

    #[test]
    fn a_crash_takes_back_what_waits() {
        let mut ends = Ends::default();
        ends.arm_failure("n1");
        ends.arm_halt("n1", "crash-before-write");
        ends.arm_halt("n2", "crash-before-write");
        ends.arm_halt("n2", "crash-before-report");
        ends.crashed("n1");
        assert_eq!(ends.halted("n1"), None);
        assert_eq!(ends.halted("n2"), Some("crash-before-report"));
        assert_eq!(ends.halted("n2"), None);
        let end = ends.judge("n1", DISK_FAILED);
        assert!(is_unexplained(&end, "n1 ended"), "{end:?}");
    }

    #[test]
    fn damage_is_found_once_and_only_where_it_is() {
        let mut ends = Ends::default();
        ends.damage("n1");
        // It stays on the disk.
        ends.crashed("n1");
        assert!(ends.is_damaged("n1"));
        let reason = format!("{DAMAGED}: entry 7: the crc is wrong");
        let other = ends.judge("n2", &reason);
        assert!(is_unexplained(&other, "n2 gave up data"), "{other:?}");
        assert_eq!(ends.judge("n1", &reason), End::FoundDamage);
        assert!(!ends.is_damaged("n1"));
        let again = ends.judge("n1", &reason);
        assert!(is_unexplained(&again, "n1 gave up data"), "{again:?}");
    }

    #[test]
    fn every_other_reason_is_told_and_counted_as_it_is() {
        let mut ends = Ends::default();
        ends.arm_failure("n1");
        ends.damage("n1");
        let reason = "Raft stopped: panicked";
        for _ in 0..2 {
            let end = ends.judge("n1", reason);
            assert!(is_unexplained(&end, "n1 ended"), "{end:?}");
        }
        assert_eq!(ends.judge("n1", DISK_FAILED), End::DiskFailed);
        let counts: Vec<_> = ends.counts().iter().collect();
        assert_eq!(
            counts,
            [(&reason.to_owned(), &2), (&FAILING.to_owned(), &1)]
        );
    }
}
