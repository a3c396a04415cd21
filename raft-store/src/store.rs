//! A node's whole store.

use crate::error::StoreError;
use crate::fault::Faults;
use crate::log::{LogDisk, LogShared, LogStore, PurgeGate};
#[cfg(feature = "rocksdb")]
use crate::options::StoreOptions;
use crate::poison::Poison;
use crate::simulated::{Observe, SimDisk};
use crate::state::{Backend, MemoryState, State, StateMachine, StateReader};
use crate::types::LogId;
use crate::workers::Workers;
use meta_core::codec::Codec;
use meta_core::failpoint::{self, Point};
use std::sync::Arc;

/// A log, the state that it is applied to, and the state's readers.
#[derive(Debug)]
pub struct Store {
    /// For openraft.
    pub log: LogStore,
    /// For openraft.
    pub machine: StateMachine,
    /// For queries, metrics and receiving snapshots.
    pub reader: StateReader,
    /// Watched by the node, which must exit with a failure when it is set.
    pub poison: Poison,
}

/// What the parts of a store have in common.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) poison: Poison,
    pub(crate) faults: Faults,
    pub(crate) workers: Workers,
    pub(crate) observer: Option<Arc<dyn Observe>>,
    /// openraft's suite leaves entries out.
    #[cfg(test)]
    pub(crate) gaps: bool,
}

impl Parts {
    pub(crate) fn new(codec: Arc<dyn Codec>, faults: Faults) -> Self {
        Self {
            codec,
            poison: Poison::default(),
            faults,
            workers: Workers::Threads,
            observer: None,
            #[cfg(test)]
            gaps: false,
        }
    }

    /// Whether an entry may be applied behind another: only the very next one may.
    pub(crate) fn follows(&self, applied: LogId, next: LogId) -> bool {
        #[cfg(test)]
        if self.gaps {
            return next.index > applied.index;
        }
        next.index == applied.index + 1
    }
}

/// Opens the store in a directory, or makes one. The whole log is read and checked.
///
/// # Errors
/// [`StoreError::Locked`] if another process has it, [`StoreError::Damaged`] if it is not what
/// was written, [`StoreError::File`] and [`StoreError::Rocks`] if it cannot be read.
#[cfg(feature = "rocksdb")]
pub fn open(options: &StoreOptions, codec: Arc<dyn Codec>) -> Result<Store, StoreError> {
    open_with(options, &Parts::new(codec, Faults::default()))
}

#[cfg(feature = "rocksdb")]
pub(crate) fn open_with(options: &StoreOptions, parts: &Parts) -> Result<Store, StoreError> {
    use crate::log::FileLog;
    use crate::state::RocksState;

    // The log comes first: its lock keeps other processes from the whole directory.
    let files = FileLog::open(
        &options.dir.join("log"),
        options.group,
        options.log_file_bytes,
    )?;
    let disk = LogDisk::Files(Box::new(files));
    let log = load(disk, options.group, options.log_tail_bytes, parts)?;
    failpoint::pass(Point::LogOpened);
    let purged = log.bounds().purged;
    let rocks = RocksState::open(options, purged.is_none(), parts.faults.clone())?;
    let state = State::new(Backend::Rocks(rocks), parts.poison.clone())?;
    check_no_gap(purged, &state)?;
    failpoint::pass(Point::StoreOpened);
    assemble(log, state, options.queue_bytes, parts)
}

/// A store that is lost with the process, for tests and simulations.
///
/// # Errors
/// [`StoreError::Refused`] if its threads cannot be started.
pub fn open_memory(codec: Arc<dyn Codec>) -> Result<Store, StoreError> {
    open_on(&SimDisk::default(), &Parts::new(codec, Faults::default()))
}

#[cfg(test)]
pub(crate) fn open_memory_with(parts: &Parts) -> Result<Store, StoreError> {
    open_on(&SimDisk::default(), parts)
}

/// Opens what is on a simulated disk. All its work is done by tasks of the runtime that it is
/// opened on, so that a runtime of one thread does it in an order that repeats.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not what was written.
pub fn open_simulated(
    disk: &SimDisk,
    codec: Arc<dyn Codec>,
    observer: Option<Arc<dyn Observe>>,
) -> Result<Store, StoreError> {
    let parts = Parts {
        workers: Workers::Tasks,
        observer,
        ..Parts::new(codec, Faults::default())
    };
    open_on(disk, &parts)
}

fn open_on(disk: &SimDisk, parts: &Parts) -> Result<Store, StoreError> {
    const QUEUE_BYTES: usize = 64 << 20;
    // Short, so that entries are read back from the disk, too.
    const TAIL_BYTES: usize = 16 << 10;
    let log = load(LogDisk::Simulated(disk.clone()), 0, TAIL_BYTES, parts)?;
    let state = State::new(
        Backend::Memory(MemoryState::open(disk.clone())),
        parts.poison.clone(),
    )?;
    check_no_gap(log.bounds().purged, &state)?;
    assemble(log, state, QUEUE_BYTES, parts)
}

/// The state must hold all that was taken out of the log.
fn check_no_gap(purged: Option<LogId>, state: &State) -> Result<(), StoreError> {
    if purged.map(|id| id.index) <= state.applied().map(|id| id.index) {
        return Ok(());
    }
    let why = format!(
        "it is at {:?}, but the log begins behind {purged:?}",
        state.applied()
    );
    Err(StoreError::damaged("state", why))
}

fn load(
    disk: LogDisk,
    group: u32,
    tail_bytes: usize,
    parts: &Parts,
) -> Result<Arc<LogShared>, StoreError> {
    let Parts { poison, faults, .. } = parts.clone();
    LogShared::load(disk, group, tail_bytes, poison, faults).map(Arc::new)
}

fn assemble(
    log: Arc<LogShared>,
    state: State,
    queue_bytes: usize,
    parts: &Parts,
) -> Result<Store, StoreError> {
    let state = Arc::new(state);
    let gate = PurgeGate::State(Arc::clone(&state));
    let log = LogStore::new(log, queue_bytes, gate, parts.workers)?;
    let reader = StateReader::new(Arc::clone(&state), log.reader(), parts.poison.clone());
    let machine = StateMachine::spawn(state, parts)?;
    Ok(Store {
        log,
        machine,
        reader,
        poison: parts.poison.clone(),
    })
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
