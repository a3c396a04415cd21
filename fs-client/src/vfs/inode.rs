//! What a mount knows of one file that is open, or has data waiting: shared by all its handles.

use super::VfsError;
use super::access_times::{Accesses, Times};
use super::file_locks::FileLocks;
use super::pending::Pending;
use super::slice_buffer::SliceBuffer;
use meta_core::attr::{Attr, Timestamp, mode};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use parking_lot::{Mutex, MutexGuard};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;
use tokio::sync::watch;

/// A file's state on this mount.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) ino: Ino,
    state: Mutex<InodeState>,
    /// The newest slice that is committed or dropped, with all before it.
    settled: watch::Sender<u64>,
    /// This mount made the file and has set no extended attribute since.
    pub(super) bare: AtomicBool,
    /// How often it was told that somebody else changes the file.
    pub(super) changes: AtomicU64,
    /// Up to which of these changes the attributes are known; more than there are, before they were
    /// asked for under this count.
    pub(super) seen: AtomicU64,
    /// Held while a slice table is fetched, so that parallel reads ask once.
    pub(super) fetching: tokio::sync::Mutex<()>,
}

/// The part that changes.
#[derive(Debug)]
pub(super) struct InodeState {
    /// The newest attributes seen, without what is pending.
    pub(super) known: Attr,
    pub(super) pending: Pending,
    /// When data was last written.
    pub(super) last_write: Instant,
    /// Whether somebody works on the commits.
    pub(super) committing: bool,
    /// What this mount has locked.
    pub(super) locks: FileLocks,
    /// How it was read here.
    pub(super) accesses: Accesses,
    faults: Faults,
}

/// Errors of background work. Each handle is told once about those since it was last told; a
/// handle opened later also about those that nobody was told.
#[derive(Debug, Default)]
struct Faults {
    count: u64,
    told: u64,
    /// The last one that is more than a lack of room.
    grave: u64,
    last: Option<VfsError>,
}

/// A pending slice that lies over what is read.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Which bytes of the file it covers.
    pub(super) range: Range<u64>,
    /// Where in the buffer the range begins.
    pub(super) from: u32,
    pub(super) buffer: Arc<SliceBuffer>,
}

/// What a read starts from, taken at one instant.
#[derive(Debug)]
pub(super) struct View {
    /// The file's length with pending writes.
    pub(super) length: u64,
    /// The length of what is committed.
    pub(super) committed: u64,
    /// The state that is committed.
    pub(super) version: Timestamp,
    /// Oldest first.
    pub(super) overlays: Vec<Overlay>,
}

impl Inode {
    pub(super) fn new(attr: Attr) -> Self {
        Self {
            ino: attr.ino,
            state: Mutex::new(InodeState {
                known: attr,
                pending: Pending::default(),
                last_write: Instant::now(),
                committing: false,
                locks: FileLocks::default(),
                accesses: Accesses::default(),
                faults: Faults::default(),
            }),
            settled: watch::Sender::new(0),
            bare: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            seen: AtomicU64::new(u64::MAX),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, InodeState> {
        self.state.lock()
    }

    /// Takes in attributes that the engine answered, unless newer ones are known, and gives back
    /// what the mount shows: with the pending writes.
    pub(super) fn learn(&self, attr: Attr) -> Attr {
        let mut state = self.lock();
        state.learn(attr);
        state.shown()
    }

    /// Tells waiters how far the pending slices are settled.
    pub(super) fn announce(&self, settled: u64) {
        self.settled.send_if_modified(|value| {
            let newer = settled > *value;
            *value = settled.max(*value);
            newer
        });
    }

    /// Waits until the slices up to `number` are committed or dropped.
    pub(super) async fn settled(&self, number: u64) {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as self, so this ends only when the condition holds.
        let _closed = settled.wait_for(|value| *value >= number).await;
    }

    pub(super) fn is_clean(&self) -> bool {
        self.lock().pending.is_empty()
    }
}

impl InodeState {
    /// Takes in attributes, unless newer ones are known: every change raises ctime.
    pub(super) fn learn(&mut self, attr: Attr) {
        if attr.ctime >= self.known.ctime {
            self.known = attr;
        }
    }

    /// The attributes with the pending writes.
    pub(super) fn shown(&self) -> Attr {
        let mut attr = self.known.clone();
        if let Some(written) = self.pending.written() {
            attr.length = self.length();
            // The commit sets it, also where it was set to a later one before.
            attr.mtime = written;
            attr.ctime = attr.ctime.max(written);
            let writers = self.pending.iter().map(|slice| &slice.caller);
            for writer in writers.filter(|writer| !writer.is_root()) {
                attr.mode = without_privilege(attr.mode, writer.in_group(attr.gid));
            }
        }
        attr
    }

    /// What decides whether a read moves the time of access, with the pending writes.
    pub(super) fn times(&self) -> Times {
        let known = Times::of(&self.known);
        let changed = self.pending.written().max(Some(known.changed));
        Times {
            changed: changed.unwrap_or(known.changed),
            ..known
        }
    }

    /// The length with the pending writes that have a place.
    pub(super) fn length(&self) -> u64 {
        self.known.length.max(self.pending.end())
    }

    pub(super) fn view(&self, range: &Range<u64>) -> View {
        let overlays = self.pending.iter().filter_map(|slice| {
            let begin = slice.offset()?;
            let end = begin + u64::from(slice.buffer.len());
            let covered = begin.max(range.start)..end.min(range.end);
            (!covered.is_empty()).then(|| Overlay {
                from: u32::try_from(covered.start - begin).unwrap_or(0),
                range: covered,
                buffer: Arc::clone(&slice.buffer),
            })
        });
        View {
            length: self.length(),
            committed: self.known.length,
            version: self.known.ctime,
            overlays: overlays.collect(),
        }
    }

    /// Keeps an error for every handle.
    pub(super) fn fault(&mut self, error: VfsError) {
        self.faults.count += 1;
        if !matches!(
            error,
            VfsError::Refused(Refusal::OverQuota | Refusal::NoSpace)
        ) {
            self.faults.grave = self.faults.count;
        }
        self.faults.last = Some(error);
    }

    /// Where a new handle begins to be told.
    pub(super) fn faults_told(&self) -> u64 {
        self.faults.told
    }

    /// The error that a handle which was told up to `seen` is to be told, and what it has then
    /// been told.
    pub(super) fn tell(&mut self, seen: u64) -> Result<(), (VfsError, u64)> {
        match &self.faults.last {
            Some(error) if self.faults.count > seen => {
                self.faults.told = self.faults.count;
                Err((error.clone(), self.faults.count))
            }
            _ => Ok(()),
        }
    }

    /// The error that a handle which was told up to `seen` is still to be told.
    pub(super) fn to_tell(&self, seen: u64) -> Result<(), VfsError> {
        let last = self.faults.last.as_ref();
        match last.filter(|_| self.faults.count > seen) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Whether nothing but a lack of room is what nobody was told.
    pub(super) fn lacks_only_room(&self) -> bool {
        self.faults.grave <= self.faults.told
    }

    /// An error that nobody was told.
    pub(super) fn untold(&self) -> Option<&VfsError> {
        let untold = self.faults.count > self.faults.told;
        self.faults.last.as_ref().filter(|_| untold)
    }
}

/// What the engine leaves of the mode when somebody other than root writes, who may be in the file's group.
fn without_privilege(bits: u32, is_member: bool) -> u32 {
    let group = if bits & mode::GROUP_EXECUTE != 0 || !is_member {
        mode::SET_GID
    } else {
        0
    };
    bits & !(mode::SET_UID | group)
}
