//! Which locks this mount has on a file, and in which session of the cluster.
//!
//! Locks live in a session and end with it. What is written while the mount has a lock on the file is
//! committed in that session or not at all: if the session is lost, so are the locks, and whoever has
//! them next must not find such writes later.

use super::handle::HandleId;
use meta_core::ids::SessionId;
use meta_core::lock::{LockKind, LockRange};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that an owner has locked, each run by its first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Runs(BTreeMap<u64, u64>);

impl Runs {
    fn add(&mut self, range: LockRange) {
        self.remove(range);
        self.0.insert(range.first, range.last);
    }

    fn remove(&mut self, range: LockRange) {
        let met: Vec<(u64, u64)> = self
            .0
            .range(..=range.last)
            .filter(|(_, last)| **last >= range.first)
            .map(|(first, last)| (*first, *last))
            .collect();
        for (first, last) in met {
            self.0.remove(&first);
            if first < range.first {
                self.0.insert(first, range.first - 1);
            }
            if last > range.last {
                self.0.insert(range.last + 1, last);
            }
        }
    }
}

/// What an owner has on the file.
#[derive(Debug)]
struct Taken {
    session: SessionId,
    runs: Runs,
    /// Where they were taken.
    handles: BTreeSet<HandleId>,
}

/// An owner: what the kernel says it is, and its number.
pub(super) type Owner = (LockKind, u64);

/// The locks of this mount on a file.
#[derive(Debug, Default)]
pub(super) struct FileLocks(BTreeMap<Owner, Taken>);

impl FileLocks {
    /// The owner has, or may have, a lock.
    pub(super) fn take(
        &mut self,
        owner: Owner,
        range: LockRange,
        session: SessionId,
        handle: HandleId,
    ) {
        let taken = self.0.entry(owner).or_insert_with(|| Taken {
            session,
            runs: Runs::default(),
            handles: BTreeSet::new(),
        });
        taken.runs.add(range);
        taken.handles.insert(handle);
    }

    /// The owner has nothing in the range any more.
    pub(super) fn give_back(&mut self, owner: Owner, range: LockRange) {
        if let Some(taken) = self.0.get_mut(&owner) {
            taken.runs.remove(range);
            if taken.runs.0.is_empty() {
                self.0.remove(&owner);
            }
        }
    }

    /// What an owner has, by its number alone.
    pub(super) fn kinds_of(&self, number: u64) -> Vec<LockKind> {
        let owners = self.0.keys().filter(|(_, other)| *other == number);
        owners.map(|(kind, _)| *kind).collect()
    }

    /// Those who have nothing but what they took in this handle, which is closed for good.
    pub(super) fn release(&mut self, handle: HandleId) -> Vec<Owner> {
        let mut left = Vec::new();
        for (owner, taken) in &mut self.0 {
            if taken.handles.remove(&handle) && taken.handles.is_empty() {
                left.push(*owner);
            }
        }
        left
    }

    /// Whether the owner had locks in a session that is not this one.
    pub(super) fn has_lost(&self, owner: Owner, current: SessionId) -> bool {
        let taken = self.0.get(&owner);
        taken.is_some_and(|taken| taken.session != current)
    }

    /// Whether somebody had locks in a session that is not this one, and took them in this handle.
    pub(super) fn is_fenced(&self, handle: HandleId, current: SessionId) -> bool {
        let lost = |taken: &Taken| taken.session != current && taken.handles.contains(&handle);
        self.0.values().any(lost)
    }

    /// The session, if there are locks in it: what is written now is written under them.
    pub(super) fn session(&self, current: SessionId) -> Option<SessionId> {
        let live = |taken: &Taken| taken.session == current;
        self.0.values().any(live).then_some(current)
    }

    /// Owners with locks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    fn range(first: u64, last: u64) -> LockRange {
        LockRange { first, last }
    }

    #[test]
    fn an_owner_has_locks_until_the_last_byte_is_given_back() {
        let owner = (LockKind::Posix, 7);
        let mut locks = FileLocks::default();
        locks.take(owner, range(0, 9), ONE, HandleId(1));
        locks.take(owner, range(20, LockRange::LAST_MAX), ONE, HandleId(2));
        locks.give_back(owner, range(5, 30));
        assert_eq!(locks.session(ONE), Some(ONE));
        locks.give_back(owner, range(0, 4));
        assert_eq!(locks.kinds_of(7), vec![LockKind::Posix]);
        locks.give_back(owner, LockRange::WHOLE);
        assert_eq!(locks.session(ONE), None);
        assert_eq!(locks.len(), 0);
    }

    #[test]
    fn a_lost_session_fences_those_who_had_locks_in_it() {
        let owner = (LockKind::Flock, 7);
        let mut locks = FileLocks::default();
        locks.take(owner, LockRange::WHOLE, ONE, HandleId(1));
        assert!(!locks.is_fenced(HandleId(1), ONE));
        assert!(locks.is_fenced(HandleId(1), TWO));
        assert!(!locks.is_fenced(HandleId(2), TWO), "it had no lock");
        assert!(locks.has_lost(owner, TWO));
        assert_eq!(locks.session(TWO), None, "others write as they did");
        locks.give_back(owner, LockRange::WHOLE);
        assert!(!locks.is_fenced(HandleId(1), TWO));
    }

    #[test]
    fn what_was_taken_in_a_handle_alone_goes_with_it() {
        let (file, process) = ((LockKind::Ofd, 7), (LockKind::Posix, 8));
        let mut locks = FileLocks::default();
        locks.take(file, range(0, 0), ONE, HandleId(1));
        locks.take(process, range(1, 1), ONE, HandleId(1));
        locks.take(process, range(2, 2), ONE, HandleId(2));
        assert_eq!(locks.release(HandleId(1)), vec![file]);
        assert_eq!(locks.release(HandleId(2)), vec![process]);
    }
}
