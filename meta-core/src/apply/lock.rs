//! Locks: taken, waited for, given back. Rows of the cluster alone: no seq is taken, and neither digest
//! nor changelog knows of them.
//!
//! As on Linux, a request is granted if no lock is in its way, whoever waits for one; and when a lock
//! goes, those who wait are served in the order in which they came. All of it happens here, so that a
//! queue outlives the leader.

use super::Done;
use crate::ids::{Ino, SessionId};
use crate::key::{self, Ids, PREFIX_BYTES};
use crate::kv::KvRead;
use crate::limits::{
    LOCK_STEPS_MAX, LOCK_WAITERS_PER_FILE_MAX, LOCK_WAITERS_PER_SESSION_MAX, LOCKS_PER_FILE_MAX,
    LOCKS_PER_SESSION_MAX, WOKEN_MAX,
};
use crate::lock::{
    HeldLock, LockDomain, LockKind, LockOwner, LockRange, LockRequest, LockSet, LockState,
    UnlockRequest, Woken,
};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Blob, LockRow, SessionLocks, WaitPlace, Waiter};
use crate::tables::{last_id, lock_owner};
use crate::txn::Txn;
use std::collections::{BTreeMap, BTreeSet};

/// Locks that are looked at for one step of a search.
const LOCKS_PER_STEP: u32 = 16;
/// How often those who wait are looked through after one change.
const ROUNDS_MAX: u32 = 16;

/// The locks of one domain on one file, and those who wait for one, while a command changes them.
struct File {
    ino: Ino,
    domain: LockDomain,
    locks: LockSet,
    /// As they are in the rows.
    stored: LockSet,
    /// By place in the queue.
    waiters: BTreeMap<u64, Waiter>,
}

impl File {
    fn load<B: KvRead>(txn: &Txn<'_, B>, ino: Ino, domain: LockDomain) -> Result<Self, Fatal> {
        let tables = txn.tables();
        let stored = tables.locks(ino, domain)?;
        let prefix = key::waiters(txn.volume(), ino, domain);
        let rows: Vec<(Vec<u8>, Waiter)> = tables.rows(&prefix, usize::MAX)?;
        let waiters = rows.into_iter().map(|(key, row)| Ok((last_id(&key)?, row)));
        Ok(Self {
            ino,
            domain,
            locks: stored.clone(),
            stored,
            waiters: waiters.collect::<Result<_, Fatal>>()?,
        })
    }

    /// Puts the locks as they are now into the rows.
    fn store<B: KvRead>(&mut self, txn: &mut Txn<'_, B>) -> Result<(), Fatal> {
        let (volume, ino) = (txn.volume(), self.ino);
        let mut sessions = BTreeSet::new();
        for (owner, first) in self.stored.0.keys() {
            if !self.locks.0.contains_key(&(*owner, *first)) {
                txn.delete(key::lock(volume, ino, *owner, *first));
                sessions.insert(owner.session);
            }
        }
        for ((owner, first), span) in &self.locks.0 {
            if self.stored.0.get(&(*owner, *first)) != Some(span) {
                txn.put(
                    key::lock(volume, ino, *owner, *first),
                    &LockRow::from(*span),
                );
                sessions.insert(owner.session);
            }
        }
        for session in sessions {
            self.count(txn, session)?;
        }
        self.stored = self.locks.clone();
        Ok(())
    }

    /// Notes how many locks a session has, now that some of them changed.
    fn count<B: KvRead>(&self, txn: &mut Txn<'_, B>, session: SessionId) -> Result<(), Fatal> {
        let before = self.stored.count_of(session);
        let after = self.locks.count_of(session);
        let mark = key::locked(txn.volume(), session, self.ino, self.domain);
        match (before, after) {
            (0, 0) => {}
            (0, _) => txn.mark(mark),
            (_, 0) => txn.delete(mark),
            _ => {}
        }
        let (before, after) = (narrow(before), narrow(after));
        let mut counted = counted(txn, session)?;
        counted.locks = counted
            .locks
            .checked_add(after)
            .and_then(|sum| sum.checked_sub(before))
            .ok_or(Fatal::Invariant("a lock of a session with none"))?;
        put_counted(txn, session, counted);
        Ok(())
    }

    /// Puts a request at the end of the queue.
    fn enqueue<B: KvRead>(&mut self, txn: &mut Txn<'_, B>, waiter: Waiter) -> Result<(), Stop> {
        let session = waiter.owner.session;
        let mut counted = counted(txn, session)?;
        // Each may leave two pieces more behind, and is not asked again when it is served.
        if self.waiters.len() >= LOCK_WAITERS_PER_FILE_MAX
            || counted.waiters as usize >= LOCK_WAITERS_PER_SESSION_MAX
            || self.locks.0.len() >= LOCKS_PER_FILE_MAX
            || counted.locks as usize >= LOCKS_PER_SESSION_MAX
        {
            return Err(Refusal::NoLocks.into());
        }
        let last = self.waiters.last_key_value().map_or(0, |(place, _)| *place);
        let place = last
            .checked_add(1)
            .ok_or(Fatal::Exhausted("places in a queue"))?;
        let volume = txn.volume();
        txn.put(key::waiter(volume, self.ino, self.domain, place), &waiter);
        let wait = key::wait(volume, waiter.owner, waiter.ticket);
        txn.put(
            wait,
            &WaitPlace {
                ino: self.ino,
                place,
            },
        );
        counted.waiters += 1;
        put_counted(txn, session, counted);
        self.waiters.insert(place, waiter);
        Ok(())
    }

    /// Takes a request out of the queue.
    fn dequeue<B: KvRead>(&mut self, txn: &mut Txn<'_, B>, place: u64) -> Result<(), Fatal> {
        let Some(waiter) = self.waiters.remove(&place) else {
            return Ok(());
        };
        let volume = txn.volume();
        txn.delete(key::waiter(volume, self.ino, self.domain, place));
        txn.delete(key::wait(volume, waiter.owner, waiter.ticket));
        let session = waiter.owner.session;
        let mut counted = counted(txn, session)?;
        counted.waiters = counted
            .waiters
            .checked_sub(1)
            .ok_or(Fatal::Invariant("a waiter of a session with none"))?;
        put_counted(txn, session, counted);
        Ok(())
    }

    /// Refuses what would leave more locks than there may be.
    fn check_room<B: KvRead>(&self, txn: &Txn<'_, B>, session: SessionId) -> Result<(), Stop> {
        let grown = self.locks.0.len().saturating_sub(self.stored.0.len());
        let of_session = counted(txn, session)?.locks as usize + grown;
        let over = self.locks.0.len() > LOCKS_PER_FILE_MAX || of_session > LOCKS_PER_SESSION_MAX;
        if grown > 0 && over {
            return Err(Refusal::NoLocks.into());
        }
        Ok(())
    }

    /// Serves those who wait, now that locks changed, in their order. Puts everything into the rows.
    fn settle<B: KvRead>(
        &mut self,
        txn: &mut Txn<'_, B>,
        woken: &mut Vec<Woken>,
    ) -> Result<(), Fatal> {
        for _ in 0..ROUNDS_MAX {
            let mut weaker = false;
            for (place, waiter) in self.waiters.clone() {
                if self.in_the_way(&waiter).next().is_some() {
                    continue;
                }
                weaker |= self.locks.set(held(&waiter));
                self.dequeue(txn, place)?;
                tell(woken, &waiter, true);
            }
            // Who takes a weaker lock than it had may be in nobody's way any more.
            if !weaker {
                break;
            }
        }
        self.store(txn)?;
        let mut steps = LOCK_STEPS_MAX;
        for (place, waiter) in self.waiters.clone() {
            if self.is_deadlock(txn, &waiter, &mut steps)? {
                self.dequeue(txn, place)?;
                tell(woken, &waiter, false);
            }
        }
        Ok(())
    }

    fn in_the_way(&self, waiter: &Waiter) -> impl Iterator<Item = HeldLock> + '_ {
        self.locks
            .conflicts(waiter.owner, waiter.range, waiter.mode)
    }

    /// Whether a request waits, or would, for somebody who waits for its owner. As on Linux that is
    /// asked of processes alone: who has an open file is not known.
    fn is_deadlock<B: KvRead>(
        &self,
        txn: &Txn<'_, B>,
        waiter: &Waiter,
        steps: &mut u32,
    ) -> Result<bool, Fatal> {
        if waiter.owner.kind != LockKind::Posix {
            return Ok(false);
        }
        let mut seen = BTreeSet::new();
        let mut next: BTreeSet<LockOwner> = processes(self.in_the_way(waiter)).collect();
        while let Some(owner) = next.pop_first() {
            if owner == waiter.owner {
                return Ok(true);
            }
            if !seen.insert(owner) {
                continue;
            }
            if *steps == 0 {
                return Ok(false);
            }
            *steps -= 1;
            next.extend(waits_for(txn, owner, steps)?);
        }
        Ok(false)
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn processes(held: impl Iterator<Item = HeldLock>) -> impl Iterator<Item = LockOwner> {
    let owners = held.map(|held| held.owner);
    owners.filter(|owner| owner.kind == LockKind::Posix)
}

/// The processes whose locks are in the way of what an owner waits for.
fn waits_for<B: KvRead>(
    txn: &Txn<'_, B>,
    owner: LockOwner,
    steps: &mut u32,
) -> Result<Vec<LockOwner>, Fatal> {
    let (tables, volume) = (txn.tables(), txn.volume());
    let places: Vec<(Vec<u8>, WaitPlace)> =
        tables.rows(&key::owner_waits(volume, owner), *steps as usize)?;
    let mut owners = Vec::new();
    for (_, WaitPlace { ino, place }) in places {
        if *steps == 0 {
            break;
        }
        let domain = owner.kind.domain();
        let row: Option<Waiter> = tables.row(&key::waiter(volume, ino, domain, place))?;
        let waiter = row.ok_or(Fatal::Invariant("a waiter without a place"))?;
        let locks = tables.locks(ino, domain)?;
        // Who waits in many files, or for one with many locks, is not looked through without end.
        *steps = steps.saturating_sub(1 + narrow(locks.0.len()) / LOCKS_PER_STEP);
        owners.extend(processes(locks.conflicts(
            waiter.owner,
            waiter.range,
            waiter.mode,
        )));
    }
    Ok(owners)
}

fn held(waiter: &Waiter) -> HeldLock {
    HeldLock {
        owner: waiter.owner,
        range: waiter.range,
        mode: waiter.mode,
        pid: waiter.pid,
    }
}

fn tell(woken: &mut Vec<Woken>, waiter: &Waiter, granted: bool) {
    if woken.len() < WOKEN_MAX {
        woken.push(Woken {
            session: waiter.owner.session,
            ticket: waiter.ticket,
            granted,
        });
    }
}

fn counted<B: KvRead>(txn: &Txn<'_, B>, session: SessionId) -> Result<SessionLocks, Fatal> {
    let row = txn
        .tables()
        .row(&key::session_locks(txn.volume(), session))?;
    Ok(row.unwrap_or_default())
}

fn put_counted<B: KvRead>(txn: &mut Txn<'_, B>, session: SessionId, counted: SessionLocks) {
    let key = key::session_locks(txn.volume(), session);
    if counted == SessionLocks::default() {
        txn.delete(key);
    } else {
        txn.put(key, &counted);
    }
}

/// Takes a lock, or waits for it.
pub(super) fn lock<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    wanted: &LockRequest,
) -> Done {
    let range = wanted.kind.range(wanted.range)?;
    txn.tables().inode(wanted.ino)?;
    let request = Waiter {
        owner: LockOwner {
            session,
            kind: wanted.kind,
            number: wanted.owner,
        },
        ticket: wanted.wait.unwrap_or_default(),
        range,
        mode: wanted.mode,
        pid: wanted.pid,
    };
    let mut file = File::load(txn, wanted.ino, wanted.kind.domain())?;
    let place = match wanted.wait {
        Some(_) => place_of(txn, &file, &request)?,
        None => None,
    };
    if wanted.kind == LockKind::Flock && file.locks.mode_of(request.owner) != Some(wanted.mode) {
        // On Linux too, the old lock goes before the new one is looked for.
        file.locks.clear(request.owner, LockRange::WHOLE);
    }
    let mut steps = LOCK_STEPS_MAX;
    let state = if file.in_the_way(&request).next().is_none() {
        file.locks.set(held(&request));
        file.check_room(txn, session)?;
        LockState::Granted
    } else if wanted.wait.is_none() {
        LockState::Conflict
    } else if file.is_deadlock(txn, &request, &mut steps)? {
        LockState::Deadlock
    } else {
        if place.is_none() {
            file.enqueue(txn, request)?;
        }
        LockState::Waiting
    };
    if let Some(place) = place
        && state != LockState::Waiting
    {
        file.dequeue(txn, place)?;
    }
    let mut woken = Vec::new();
    if file.locks != file.stored {
        file.settle(txn, &mut woken)?;
    }
    Ok(Success::Locked { state, woken })
}

/// The place in the queue of a request that was made before.
fn place_of<B: KvRead>(
    txn: &Txn<'_, B>,
    file: &File,
    request: &Waiter,
) -> Result<Option<u64>, Stop> {
    let wait = key::wait(txn.volume(), request.owner, request.ticket);
    let Some(WaitPlace { ino, place }) = txn.tables().row(&wait)? else {
        return Ok(None);
    };
    // A number stands for one request at a time.
    if ino != file.ino || file.waiters.get(&place) != Some(request) {
        return Err(Refusal::InvalidArgument.into());
    }
    Ok(Some(place))
}

/// Gives locks back.
pub(super) fn unlock<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    given: &UnlockRequest,
) -> Done {
    let range = given.kind.range(given.range)?;
    let owner = LockOwner {
        session,
        kind: given.kind,
        number: given.owner,
    };
    let mut file = File::load(txn, given.ino, given.kind.domain())?;
    let mut woken = Vec::new();
    if file.locks.clear(owner, range) {
        file.check_room(txn, session)?;
        file.settle(txn, &mut woken)?;
    }
    Ok(Success::Unlocked(woken))
}

/// Ends a request that waits, if it does.
pub(super) fn cancel<B: KvRead>(txn: &mut Txn<'_, B>, owner: LockOwner, ticket: u64) -> Done {
    let wait = key::wait(txn.volume(), owner, ticket);
    let found: Option<WaitPlace> = txn.tables().row(&wait)?;
    if let Some(WaitPlace { ino, place }) = found {
        File::load(txn, ino, owner.kind.domain())?.dequeue(txn, place)?;
    }
    Ok(Success::LockCancelled {
        waited: found.is_some(),
    })
}

/// Ends what a session that ends has locked or waits for.
pub(super) fn end_session<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    woken: &mut Vec<Woken>,
) -> Result<(), Fatal> {
    let volume = txn.volume();
    // First of all: it is given nothing any more.
    let waits: Vec<(Vec<u8>, WaitPlace)> = txn
        .tables()
        .rows(&key::session_waits(volume, session), usize::MAX)?;
    for (key, WaitPlace { ino, place }) in waits {
        let mut ids = Ids(key.get(PREFIX_BYTES + 1..).unwrap_or_default());
        let domain = lock_owner(&mut ids)?.kind.domain();
        File::load(txn, ino, domain)?.dequeue(txn, place)?;
    }
    let prefix = key::locked_files(volume, session);
    let marks: Vec<(Vec<u8>, Blob)> = txn.tables().rows(&prefix, usize::MAX)?;
    for (key, _) in marks {
        let mut ids = Ids(key.get(prefix.len()..).unwrap_or_default());
        let (ino, domain) = (ids.u64(), ids.u8().and_then(LockDomain::from_number));
        let (Some(ino), Some(domain)) = (ino, domain) else {
            return Err(Fatal::Invariant("a mark of locks on no file"));
        };
        let mut file = File::load(txn, Ino(ino), domain)?;
        file.locks.end_session(session);
        file.settle(txn, woken)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "lock_test.rs"]
mod tests;
