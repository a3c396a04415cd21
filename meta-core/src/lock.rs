//! Locks on files: the words, and what a set of locks does when one is taken or given back.
//!
//! Two domains that know nothing of each other, as on Linux: *record* locks on ranges of bytes, of a
//! process (POSIX) or of an open file (OFD), and *flock* locks on whole files. An owner has at most
//! one lock on a byte. Locks of one owner that touch and have the same mode are one lock.

use crate::ids::{Ino, SessionId};
use crate::outcome::Refusal;
use std::collections::BTreeMap;

/// What kind of lock it is. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum LockKind {
    /// A record lock of a process. Only these are looked through for deadlocks.
    Posix = 1,
    /// A record lock of an open file description.
    Ofd = 2,
    /// A lock of an open file description on the whole file.
    Flock = 3,
}

/// Locks that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum LockDomain {
    /// POSIX and OFD locks.
    Record = 0,
    /// Locks by `flock`.
    Flock = 1,
}

impl LockKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Posix, Self::Ofd, Self::Flock];

    /// The kind stored as `number`, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Which locks it has to do with.
    pub const fn domain(self) -> LockDomain {
        match self {
            Self::Posix | Self::Ofd => LockDomain::Record,
            Self::Flock => LockDomain::Flock,
        }
    }
}

impl LockDomain {
    /// The domain stored as `number`, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Record),
            1 => Some(Self::Flock),
            _ => None,
        }
    }
}

/// Whom a lock excludes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LockMode {
    /// Exclusive locks of others.
    Shared,
    /// All locks of others.
    Exclusive,
}

/// Bytes of a file, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LockRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, at most [`LockRange::LAST_MAX`].
    pub last: u64,
}

impl LockRange {
    /// The last byte that can be locked: as far as an offset goes on Linux.
    pub const LAST_MAX: u64 = i64::MAX as u64;
    /// All bytes that a file can have.
    pub const WHOLE: Self = Self {
        first: 0,
        last: Self::LAST_MAX,
    };

    /// Whether it is a range.
    pub const fn is_valid(self) -> bool {
        self.first <= self.last && self.last <= Self::LAST_MAX
    }

    /// Whether they have a byte in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether they have a byte in common, or one begins where the other ends.
    const fn touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// Who has a lock or wants it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LockOwner {
    /// The session. Its locks end with it.
    pub session: SessionId,
    /// What kind of owner it is.
    pub kind: LockKind,
    /// A number that the session knows it by.
    pub number: u64,
}

/// A lock that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockRequest {
    /// The file.
    pub ino: Ino,
    /// The kind.
    pub kind: LockKind,
    /// The owner's number in its session.
    pub owner: u64,
    /// Its process, for whoever asks who has the lock.
    pub pid: u32,
    /// The bytes. A flock is always on all of them.
    pub range: LockRange,
    /// Whom it excludes.
    pub mode: LockMode,
    /// Waits while another lock is in the way, under this number of the owner. The same request again,
    /// under the same number, only asks how it stands.
    pub wait: Option<u64>,
}

/// A lock to be given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnlockRequest {
    /// The file.
    pub ino: Ino,
    /// The kind.
    pub kind: LockKind,
    /// The owner's number in its session.
    pub owner: u64,
    /// The bytes; [`LockRange::WHOLE`] for all that the owner has on the file.
    pub range: LockRange,
}

/// Asks which lock would be in the way of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GetLock {
    /// The file.
    pub ino: Ino,
    /// Who would want it.
    pub owner: LockOwner,
    /// The bytes.
    pub range: LockRange,
    /// Whom it would exclude.
    pub mode: LockMode,
}

/// A lock that somebody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldLock {
    /// Who.
    pub owner: LockOwner,
    /// The bytes.
    pub range: LockRange,
    /// Whom it excludes.
    pub mode: LockMode,
    /// The process that took it, as its session's machine knows it.
    pub pid: u32,
}

/// How a request for a lock stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockState {
    /// The owner has it.
    Granted,
    /// It waits.
    Waiting,
    /// Another lock is in the way, and the request does not wait. A flock that was to be changed is
    /// gone, as on Linux.
    Conflict,
    /// It would wait for somebody who waits for its owner. It does not wait.
    Deadlock,
}

/// A request that waited and does not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Woken {
    /// Whose.
    pub session: SessionId,
    /// The number that it waited under.
    pub ticket: u64,
    /// Whether its owner has the lock now. Otherwise it has to ask again.
    pub granted: bool,
}

/// The part of a lock that is not its owner or its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) last: u64,
    pub(crate) mode: LockMode,
    pub(crate) pid: u32,
}

/// The locks of one domain on one file, by owner and first byte.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LockSet(pub(crate) BTreeMap<(LockOwner, u64), Span>);

impl LockSet {
    /// A lock of somebody else that excludes this one: the one that begins first.
    pub(crate) fn conflict(
        &self,
        owner: LockOwner,
        range: LockRange,
        mode: LockMode,
    ) -> Option<HeldLock> {
        self.conflicts(owner, range, mode)
            .min_by_key(|held| held.range.first)
    }

    /// All of them.
    pub(crate) fn conflicts(
        &self,
        owner: LockOwner,
        range: LockRange,
        mode: LockMode,
    ) -> impl Iterator<Item = HeldLock> + '_ {
        self.iter().filter(move |held| {
            let excludes = mode == LockMode::Exclusive || held.mode == LockMode::Exclusive;
            held.owner != owner && excludes && held.range.overlaps(range)
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = HeldLock> + '_ {
        self.0.iter().map(|((owner, first), span)| HeldLock {
            owner: *owner,
            range: LockRange {
                first: *first,
                last: span.last,
            },
            mode: span.mode,
            pid: span.pid,
        })
    }

    /// The owner's locks.
    fn of(&self, owner: LockOwner) -> Vec<HeldLock> {
        let theirs = self.0.range((owner, 0)..=(owner, u64::MAX));
        let held = theirs.map(|((owner, first), span)| HeldLock {
            owner: *owner,
            range: LockRange {
                first: *first,
                last: span.last,
            },
            mode: span.mode,
            pid: span.pid,
        });
        held.collect()
    }

    /// The mode of the owner's only lock, if it has one: of a flock.
    pub(crate) fn mode_of(&self, owner: LockOwner) -> Option<LockMode> {
        self.0.get(&(owner, 0)).map(|span| span.mode)
    }

    fn put(&mut self, held: HeldLock) {
        let span = Span {
            last: held.range.last,
            mode: held.mode,
            pid: held.pid,
        };
        self.0.insert((held.owner, held.range.first), span);
    }

    /// Takes the bytes from the owner. Says whether it had any of them.
    pub(crate) fn clear(&mut self, owner: LockOwner, range: LockRange) -> bool {
        let mut had = false;
        for held in self.of(owner) {
            if !held.range.overlaps(range) {
                continue;
            }
            had = true;
            self.0.remove(&(owner, held.range.first));
            if held.range.first < range.first {
                let last = range.first - 1;
                let range = LockRange { last, ..held.range };
                self.put(HeldLock { range, ..held });
            }
            if held.range.last > range.last {
                let first = range.last + 1;
                let range = LockRange {
                    first,
                    ..held.range
                };
                self.put(HeldLock { range, ..held });
            }
        }
        had
    }

    /// Gives the bytes to the owner, whatever it had of them before. Says whether one of its locks was
    /// exclusive there and is not any more. Nothing may be in the way.
    pub(crate) fn set(&mut self, wanted: HeldLock) -> bool {
        let HeldLock { owner, mode, .. } = wanted;
        let mut range = wanted.range;
        let mut weaker = false;
        for held in self.of(owner) {
            if held.mode == mode {
                if held.range.touches(wanted.range) {
                    self.0.remove(&(owner, held.range.first));
                    range.first = range.first.min(held.range.first);
                    range.last = range.last.max(held.range.last);
                }
            } else if held.range.overlaps(wanted.range) {
                weaker |= mode == LockMode::Shared;
            }
        }
        self.clear(owner, wanted.range);
        self.put(HeldLock { range, ..wanted });
        weaker
    }

    /// All locks of a session end. Says whether it had any.
    pub(crate) fn end_session(&mut self, session: SessionId) -> bool {
        let before = self.0.len();
        self.0.retain(|(owner, _), _| owner.session != session);
        self.0.len() < before
    }

    /// How many a session has.
    pub(crate) fn count_of(&self, session: SessionId) -> usize {
        let owners = self.0.keys();
        owners.filter(|(owner, _)| owner.session == session).count()
    }
}

impl LockKind {
    /// The bytes that a lock of the kind is on, if it is said to be on `range`.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] if that is no range.
    pub fn range(self, range: LockRange) -> Result<LockRange, Refusal> {
        match self {
            Self::Flock => Ok(LockRange::WHOLE),
            Self::Posix | Self::Ofd if range.is_valid() => Ok(range),
            Self::Posix | Self::Ofd => Err(Refusal::InvalidArgument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: u64) -> LockOwner {
        LockOwner {
            session: SessionId(1),
            kind: LockKind::Posix,
            number,
        }
    }

    fn held(number: u64, first: u64, last: u64, mode: LockMode) -> HeldLock {
        HeldLock {
            owner: owner(number),
            range: LockRange { first, last },
            mode,
            pid: 9,
        }
    }

    fn shown(set: &LockSet) -> Vec<(u64, u64, u64, LockMode)> {
        let each = set.iter().map(|held| {
            let LockRange { first, last } = held.range;
            (held.owner.number, first, last, held.mode)
        });
        each.collect()
    }

    #[test]
    fn a_lock_in_the_middle_splits_one_of_another_mode_and_joins_one_of_its_own() {
        use LockMode::{Exclusive, Shared};
        let mut set = LockSet::default();
        assert!(!set.set(held(1, 0, 99, Exclusive)));
        assert!(set.set(held(1, 40, 59, Shared)), "weaker in the middle");
        let split = vec![
            (1, 0, 39, Exclusive),
            (1, 40, 59, Shared),
            (1, 60, 99, Exclusive),
        ];
        assert_eq!(shown(&set), split);
        assert!(!set.set(held(1, 30, 69, Exclusive)));
        assert_eq!(shown(&set), vec![(1, 0, 99, Exclusive)]);
        // Neighbours of one mode are one lock, those of two are not.
        set.set(held(1, 100, 109, Exclusive));
        set.set(held(1, 110, 119, Shared));
        let joined = vec![(1, 0, 109, Exclusive), (1, 110, 119, Shared)];
        assert_eq!(shown(&set), joined);
        assert!(set.clear(owner(1), LockRange { first: 5, last: 5 }));
        assert_eq!(
            shown(&set)[..2],
            [(1, 0, 4, Exclusive), (1, 6, 109, Exclusive)]
        );
        assert!(!set.clear(owner(1), LockRange { first: 5, last: 5 }));
    }

    #[test]
    fn only_locks_of_others_are_in_the_way() {
        use LockMode::{Exclusive, Shared};
        let mut set = LockSet::default();
        set.set(held(1, 10, 19, Shared));
        let range = LockRange {
            first: 19,
            last: 30,
        };
        assert_eq!(set.conflict(owner(1), range, Exclusive), None);
        assert_eq!(set.conflict(owner(2), range, Shared), None);
        let found = set.conflict(owner(2), range, Exclusive);
        assert_eq!(found, Some(held(1, 10, 19, Shared)));
        let behind = LockRange {
            first: 20,
            last: 30,
        };
        assert_eq!(set.conflict(owner(2), behind, Exclusive), None);
    }

    #[test]
    fn the_end_of_the_range_is_the_end_of_offsets() {
        let mut set = LockSet::default();
        let last = LockRange::LAST_MAX;
        set.set(held(1, last, last, LockMode::Shared));
        set.set(held(1, 0, last - 1, LockMode::Shared));
        assert_eq!(shown(&set), vec![(1, 0, last, LockMode::Shared)]);
        let past = LockRange {
            first: 0,
            last: last + 1,
        };
        assert_eq!(LockKind::Posix.range(past), Err(Refusal::InvalidArgument));
        assert_eq!(LockKind::Flock.range(past), Ok(LockRange::WHOLE));
        let turned = LockRange { first: 2, last: 1 };
        assert_eq!(LockKind::Ofd.range(turned), Err(Refusal::InvalidArgument));
    }
}
