//! Rules of locks and of those who wait for one.

use super::Found;
use crate::ids::{Ino, SessionId};
use crate::key::{
    FIRST_LOCAL_TAG, Ids, Key, LOCKS_BY_FILE, LOCKS_BY_SESSION, LOCKS_COUNTED, PREFIX_BYTES, Table,
};
use crate::kv::KvRead;
use crate::lock::{HeldLock, LockDomain, LockMode, LockOwner, LockRange, LockSet};
use crate::outcome::Fatal;
use crate::row::{Blob, LockRow, SessionLocks, WaitPlace, Waiter};
use crate::tables::{Tables, last_id, lock_owner};
use std::collections::{BTreeMap, BTreeSet};

type Place = (Ino, LockDomain);

#[derive(Default)]
struct Rows {
    locks: BTreeMap<Place, LockSet>,
    marks: BTreeSet<(SessionId, Place)>,
    counted: BTreeMap<SessionId, SessionLocks>,
    waiters: BTreeMap<(Place, u64), Waiter>,
    /// By owner and ticket.
    waits: BTreeMap<(LockOwner, u64), (Ino, u64)>,
}

const SHORT: Fatal = Fatal::Invariant("a key is too short");

/// All rows of one kind in a table of locks: what is behind its number in the key, and the row.
fn rows<K: KvRead, R: crate::row::Row>(
    tables: Tables<'_, K>,
    table: Table,
    kind: u8,
) -> Result<Vec<(Vec<u8>, R)>, Fatal> {
    debug_assert!(table as u8 >= FIRST_LOCAL_TAG, "locks are a cluster's own");
    let prefix = Key::new(tables.volume(), table).u8(kind).done();
    let rows = tables.rows(&prefix, usize::MAX)?;
    let behind = rows.into_iter().map(|(key, row)| {
        let ids = key.get(PREFIX_BYTES + 1..).ok_or(SHORT)?;
        Ok((ids.to_vec(), row))
    });
    behind.collect()
}

fn place(ids: &mut Ids<'_>) -> Result<Place, Fatal> {
    let (ino, domain) = (ids.u64(), ids.u8().and_then(LockDomain::from_number));
    Ok((Ino(ino.ok_or(SHORT)?), domain.ok_or(SHORT)?))
}

impl Rows {
    fn read<K: KvRead>(tables: Tables<'_, K>) -> Result<Self, Fatal> {
        let mut found = Self::default();
        for (ids, row) in rows::<K, LockRow>(tables, Table::Lock, LOCKS_BY_FILE)? {
            let mut ids = Ids(&ids);
            let (place, owner) = (place(&mut ids)?, lock_owner(&mut ids)?);
            let first = ids.u64().ok_or(SHORT)?;
            let set = found.locks.entry(place).or_default();
            set.0.insert((owner, first), row.into());
        }
        for (ids, _) in rows::<K, Blob>(tables, Table::Lock, LOCKS_BY_SESSION)? {
            let mut ids = Ids(&ids);
            let session = SessionId(ids.u64().ok_or(SHORT)?);
            found.marks.insert((session, place(&mut ids)?));
        }
        for (ids, row) in rows(tables, Table::Lock, LOCKS_COUNTED)? {
            found.counted.insert(SessionId(last_id(&ids)?), row);
        }
        for (ids, row) in rows(tables, Table::Waiter, LOCKS_BY_FILE)? {
            let place = place(&mut Ids(&ids))?;
            found.waiters.insert((place, last_id(&ids)?), row);
        }
        for (ids, row) in rows::<K, WaitPlace>(tables, Table::Waiter, LOCKS_BY_SESSION)? {
            let owner = lock_owner(&mut Ids(&ids))?;
            let key = (owner, last_id(&ids)?);
            found.waits.insert(key, (row.ino, row.place));
        }
        Ok(found)
    }

    /// What the sessions have by their locks.
    fn counts(&self) -> BTreeMap<SessionId, SessionLocks> {
        let mut counted: BTreeMap<SessionId, SessionLocks> = BTreeMap::new();
        for held in self.locks.values().flat_map(LockSet::iter) {
            counted.entry(held.owner.session).or_default().locks += 1;
        }
        for waiter in self.waiters.values() {
            counted.entry(waiter.owner.session).or_default().waiters += 1;
        }
        counted
    }

    fn marked(&self) -> BTreeSet<(SessionId, Place)> {
        let each = self.locks.iter().flat_map(|(place, set)| {
            let sessions = set.iter().map(|held| held.owner.session);
            sessions.map(|session| (session, *place))
        });
        each.collect()
    }
}

/// Locks of others exclude each other, those of one owner are as few as can be, who waits has a reason,
/// and all of it is of sessions that live.
pub(super) fn check<K: KvRead>(tables: Tables<'_, K>, found: &mut Found) -> Result<(), Fatal> {
    let rows = Rows::read(tables)?;
    for (place, set) in &rows.locks {
        check_file(*place, set, found);
    }
    found.unless(rows.marks == rows.marked(), || {
        "the files that sessions have locks on are not those that are noted".to_owned()
    });
    let counts = rows.counts();
    found.unless(rows.counted == counts, || {
        format!(
            "sessions have locks {counts:?}, noted are {:?}",
            rows.counted
        )
    });
    for session in counts.keys() {
        let row = tables.session(*session)?;
        let lives = row.is_some_and(|row| row.volume == tables.volume());
        found.unless(lives, || format!("session {session} has locks and is none"));
    }
    let mut waits = BTreeMap::new();
    for (((ino, domain), place), waiter) in &rows.waiters {
        waits.insert((waiter.owner, waiter.ticket), (*ino, *place));
        let Waiter {
            owner, range, mode, ..
        } = *waiter;
        let set = rows.locks.get(&(*ino, *domain));
        let waits = set.is_some_and(|set| set.conflict(owner, range, mode).is_some());
        found.unless(waits && owner.kind.domain() == *domain, || {
            format!("{waiter:?} waits for nothing on {ino}")
        });
    }
    found.unless(waits == rows.waits, || {
        "who waits is not where it is noted".to_owned()
    });
    Ok(())
}

fn check_file((ino, domain): Place, set: &LockSet, found: &mut Found) {
    let mut held: Vec<HeldLock> = set.iter().collect();
    for lock in &held {
        let whole = domain == LockDomain::Record || lock.range == LockRange::WHOLE;
        let is_one = lock.range.is_valid() && whole && lock.owner.kind.domain() == domain;
        found.unless(is_one, || format!("{lock:?} on {ino} is no lock"));
    }
    for pair in held.windows(2) {
        let [one, next] = pair else { continue };
        let touch = next.range.first <= one.range.last.saturating_add(1);
        let one_lock = next.range.first <= one.range.last || (touch && one.mode == next.mode);
        found.unless(one.owner != next.owner || !one_lock, || {
            format!("{one:?} and {next:?} on {ino} are one lock")
        });
    }
    // By first byte: those that overlap one are the next ones.
    held.sort_by_key(|lock| lock.range.first);
    for (index, one) in held.iter().enumerate() {
        let behind = held.iter().skip(index + 1);
        for other in behind.take_while(|other| other.range.first <= one.range.last) {
            let shared = one.mode == LockMode::Shared && other.mode == LockMode::Shared;
            found.unless(shared || one.owner == other.owner, || {
                format!("{one:?} and {other:?} on {ino} exclude each other")
            });
        }
    }
}
