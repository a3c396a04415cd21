//! A disk in memory that outlives the store on it, so that a simulation can crash the store, cut
//! the power, damage what is written or make a write fail.
//!
//! It promises what the real one does: a synced round of the log is there after a power failure,
//! rounds after it are lost from the last one backwards; the state goes back to where it was
//! flushed last, as its database has no write-ahead log.

use crate::error::StoreError;
use crate::log::{Change, Durability, Ends, Tip, decode_entry, entry_key, key_index};
use crate::snapshot::SnapshotFiles;
use crate::types::{LogId, Membership};
use meta_core::command::Command;
use meta_core::kv::MemKv;
use meta_core::outcome::Reply;
use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The log's rows, held still.
pub(crate) struct Pinned<'a>(MutexGuard<'a, Disk>);

impl Pinned<'_> {
    pub(crate) fn scan(&self, begin: &[u8], end: &[u8], visit: &mut meta_core::kv::Visit<'_>) {
        for (key, value) in self.0.rows.range(begin.to_vec()..end.to_vec()) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}

type LogRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// How the disk behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DiskManners {
    /// The longest that a round of the log takes; how long is random.
    pub round_max: Duration,
    /// After how many writes of the state, on average, it flushes by itself; 0 is never.
    pub flush_every: u32,
}

/// Any write returns at once, and nothing is flushed that nobody asked for.
impl Default for DiskManners {
    fn default() -> Self {
        Self {
            round_max: Duration::ZERO,
            flush_every: 0,
        }
    }
}

/// Where a disk can stand still, so that a crash comes at exactly this point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Halt {
    /// Before a round of the log is written.
    BeforeRound,
    /// When it is written and synced, and nobody knows.
    BeforeReport,
}

/// How a store on the disk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// Its process was killed: the system still writes what it was given.
    Kill,
    /// The power failed: of what was not synced, the first so many rounds are there.
    PowerLoss,
}

/// What an applied entry held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed<'a> {
    /// Nothing: a leader's first.
    Blank,
    /// The members from then on.
    Membership(&'a Membership),
    /// A command, and its reply.
    Command(&'a Command, &'a Reply),
}

/// What is told of a node's store as it goes along.
pub trait Observe: Send + Sync {
    /// An entry is being applied.
    fn applied(&self, id: LogId, entry: Observed<'_>);

    /// All rows were replaced by those of a snapshot, which stands for this entry.
    fn installed(&self, id: Option<LogId>);
}

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    /// What a reader sees.
    rows: LogRows,
    /// What a power failure leaves.
    synced: LogRows,
    /// Rounds written since.
    unsynced: Vec<Vec<Change>>,
    /// Where the log was known to end.
    tip: Tip,
    /// The last entry that was durable before the disk was damaged on purpose.
    had: Option<LogId>,
    flushed: MemKv,
    snapshot: Option<SnapshotFiles>,
    manners: DiskManners,
    /// Rounds until one fails.
    failing: Option<u32>,
    /// Where it will stand still, after so many rounds.
    halting: Option<(u32, Halt)>,
    halted: bool,
    /// Rows taken for durable that were not.
    broken: u32,
    rng: StdRng,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

/// An empty disk with the default manners.
impl Default for SimDisk {
    fn default() -> Self {
        Self::new(DiskManners::default(), 0)
    }
}

fn change(rows: &mut LogRows, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Put(key, value) => {
                rows.insert(key.clone(), value.clone());
            }
            Change::DeleteRange(begin, end) => {
                let gone = rows.range(begin.clone()..end.clone());
                let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
                for key in gone {
                    rows.remove(&key);
                }
            }
        }
    }
}

impl SimDisk {
    /// An empty disk. What is random about it follows from `seed`.
    pub fn new(manners: DiskManners, seed: u64) -> Self {
        Self {
            disk: Arc::new(Mutex::new(Disk {
                rows: LogRows::new(),
                synced: LogRows::new(),
                unsynced: Vec::new(),
                tip: Tip::default(),
                had: None,
                flushed: MemKv::default(),
                snapshot: None,
                manners,
                failing: None,
                halting: None,
                halted: false,
                broken: 0,
                rng: StdRng::seed_from_u64(seed),
            })),
        }
    }

    /// Leaves what a crash leaves. No store may be open on the disk.
    pub fn crash(&self, crash: Crash) {
        let disk = &mut *self.disk.lock();
        if crash == Crash::PowerLoss {
            let kept = disk.rng.random_range(0..=disk.unsynced.len());
            disk.rows.clone_from(&disk.synced);
            for round in disk.unsynced.drain(..).take(kept) {
                change(&mut disk.rows, &round);
            }
        }
        // What is on the disk by now stays there, whatever happens next.
        disk.unsynced.clear();
        disk.synced.clone_from(&disk.rows);
        disk.failing = None;
        disk.halting = None;
        disk.halted = false;
    }

    /// Makes a round of the log fail: the one behind the next `rounds`.
    pub fn fail_after(&self, rounds: u32) {
        self.disk.lock().failing = Some(rounds);
    }

    /// Makes the log stand still at a point of a round: the one behind the next `rounds`.
    pub fn halt_after(&self, rounds: u32, at: Halt) {
        self.disk.lock().halting = Some((rounds, at));
    }

    /// Whether the log stands still.
    pub fn has_halted(&self) -> bool {
        self.disk.lock().halted
    }

    pub(crate) fn halts(&self, at: Halt) -> bool {
        let disk = &mut *self.disk.lock();
        match disk.halting {
            Some((0, halt)) if halt == at => {
                disk.halted = true;
                true
            }
            Some((left, halt)) if left > 0 && at == Halt::BeforeReport => {
                disk.halting = Some((left - 1, halt));
                false
            }
            _ => false,
        }
    }

    /// How the disk behaves from now on.
    pub fn behave(&self, manners: DiskManners) {
        self.disk.lock().manners = manners;
    }

    /// Turns one bit of an entry of the log over. Says whether there was any. No store may be
    /// open on the disk.
    pub fn flip_bit(&self) -> bool {
        let disk = &mut *self.disk.lock();
        disk.had = disk.had.max(disk.tip.last);
        let entries = disk.rows.iter_mut();
        let mut entries: Vec<_> = entries
            .filter(|(key, _)| key_index(key).is_some())
            .collect();
        if entries.is_empty() {
            return false;
        }
        let at = disk.rng.random_range(0..entries.len());
        let value = &mut entries[at].1;
        let bit = disk.rng.random_range(0..value.len() * 8);
        value[bit / 8] ^= 1 << (bit % 8);
        disk.synced.clone_from(&disk.rows);
        true
    }

    /// Loses everything, as a disk does that is replaced. No store may be open on the disk.
    pub fn wipe(&self) {
        let disk = &mut *self.disk.lock();
        disk.had = disk.had.max(disk.tip.last);
        disk.rows.clear();
        disk.synced.clear();
        disk.unsynced.clear();
        disk.tip = Tip::default();
        disk.flushed = MemKv::default();
        disk.snapshot = None;
        disk.failing = None;
    }

    /// Cuts entries off the end of the log, as a disk does that lost synced writes. Says whether
    /// there were any.
    pub fn forget_last(&self, entries: usize) -> bool {
        let disk = &mut *self.disk.lock();
        disk.had = disk.had.max(disk.tip.last);
        let keys = disk.rows.keys().rev();
        let keys: Vec<_> = keys
            .filter(|key| key_index(key).is_some())
            .take(entries)
            .cloned()
            .collect();
        for key in &keys {
            disk.rows.remove(key);
        }
        disk.synced.clone_from(&disk.rows);
        !keys.is_empty()
    }

    /// Whether a power failure now would leave this entry of the log, or the state that holds it;
    /// or would have, before the disk was damaged on purpose.
    pub fn holds(&self, id: LogId) -> bool {
        let disk = self.disk.lock();
        if disk.had >= Some(id) {
            return true;
        }
        let flushed = crate::state::AppliedState::read(&disk.flushed);
        if flushed.is_ok_and(|state| state.applied.is_some_and(|at| at.index >= id.index)) {
            return true;
        }
        let value = disk.synced.get(&entry_key(0, id.index));
        value.is_some_and(|value| {
            decode_entry(id.index, value).is_ok_and(|entry| entry.log_id == id)
        })
    }

    /// A row is now taken for durable.
    pub(crate) fn promised(&self, key: &[u8], value: &[u8]) {
        let disk = &mut *self.disk.lock();
        if disk.synced.get(key).map(Vec::as_slice) != Some(value) {
            disk.broken += 1;
        }
    }

    /// Rows from `begin` to before `end` are now taken to be gone for ever.
    pub(crate) fn promised_gone(&self, begin: &[u8], end: &[u8]) {
        let disk = &mut *self.disk.lock();
        if disk
            .synced
            .range(begin.to_vec()..end.to_vec())
            .next()
            .is_some()
        {
            disk.broken += 1;
        }
    }

    /// How often a change was taken for durable that a power failure would have taken back.
    pub fn broken_promises(&self) -> u32 {
        self.disk.lock().broken
    }

    /// How long the next round takes.
    pub(crate) fn delay(&self) -> Duration {
        let disk = &mut *self.disk.lock();
        if disk.manners.round_max.is_zero() {
            return Duration::ZERO;
        }
        disk.manners
            .round_max
            .mul_f64(disk.rng.random_range(0.0..1.0))
    }

    pub(crate) fn write(
        &self,
        changes: &[Change],
        durability: Durability,
        ends: Ends,
    ) -> Result<(), StoreError> {
        let disk = &mut *self.disk.lock();
        disk.tip = disk.tip.min(ends.lowest);
        if let Some(left) = disk.failing {
            if left == 0 {
                // Some of it may have reached the disk.
                if disk.rng.random_bool(0.5) {
                    disk.unsynced.push(changes.to_vec());
                    change(&mut disk.rows, changes);
                }
                return Err(StoreError::Refused(String::from("the disk failed")));
            }
            disk.failing = Some(left - 1);
        }
        change(&mut disk.rows, changes);
        disk.unsynced.push(changes.to_vec());
        if durability == Durability::Now {
            for round in disk.unsynced.drain(..) {
                change(&mut disk.synced, &round);
            }
            disk.tip = ends.after;
        }
        Ok(())
    }

    pub(crate) fn check_end(&self, found: Tip) -> Result<(), StoreError> {
        self.disk.lock().tip.check(found)
    }

    /// The log's rows, which nobody changes meanwhile.
    pub(crate) fn pin(&self) -> Pinned<'_> {
        Pinned(self.disk.lock())
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        let disk = self.disk.lock();
        let rows = disk.rows.iter();
        rows.map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }

    pub(crate) fn flushed<R>(&self, read: impl FnOnce(&MemKv) -> R) -> R {
        read(&self.disk.lock().flushed)
    }

    /// Whether the state flushes by itself after this write.
    pub(crate) fn flushes_now(&self) -> bool {
        let disk = &mut *self.disk.lock();
        let every = disk.manners.flush_every;
        every > 0 && disk.rng.random_ratio(1, every)
    }

    pub(crate) fn flush(&self, rows: &MemKv) {
        self.disk.lock().flushed = rows.clone();
    }

    pub(crate) fn snapshot(&self) -> Option<SnapshotFiles> {
        self.disk.lock().snapshot.clone()
    }

    pub(crate) fn keep_snapshot(&self, files: SnapshotFiles) {
        self.disk.lock().snapshot = Some(files);
    }

    /// Replaces the state and the snapshot in one step.
    pub(crate) fn install(&self, rows: MemKv, files: SnapshotFiles) {
        let disk = &mut *self.disk.lock();
        disk.flushed = rows;
        disk.snapshot = Some(files);
    }
}
