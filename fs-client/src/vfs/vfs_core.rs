//! The parts of a file system on a mount, and its beginning and end.

use super::access_log::AccessLog;
use super::access_times::AccessTimes;
use super::budget::Budget;
use super::grants::Grants;
use super::handle::HandleTable;
use super::inode_table::InodeTable;
use super::meta::Meta;
use super::settle::OpensInFlight;
use super::slice_table::SliceTables;
use super::{MetaApi, MetaStatus, Stats, VfsError, VfsOptions};
use chunk_store::SliceStore;
use meta_client::{Forgets, HandedOn};
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::failpoint::{self, Point};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::query::QueryBody;
use quick_cache::sync::Cache;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How often data that waits is looked at.
const FLUSH_ROUND: Duration = Duration::from_secs(1);

/// A file system: cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub struct Vfs {
    pub(super) core: Arc<Core>,
}

pub(super) struct Core {
    pub(super) meta: Meta,
    pub(super) slices: SliceStore,
    pub(super) options: VfsOptions,
    pub(super) grants: Grants,
    pub(super) budget: Budget,
    pub(super) inodes: InodeTable,
    pub(super) handles: HandleTable,
    pub(super) opens: OpensInFlight,
    pub(super) tables: SliceTables,
    /// Bytes that may be read ahead.
    pub(super) readahead: Arc<Semaphore>,
    /// The state of which the kernel's page cache may hold pages, by file.
    pub(super) page_cache: Cache<Ino, Timestamp>,
    pub(super) stats: Arc<Stats>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) access_times: AccessTimes,
    /// The directory that the mount shows as its root, if that is not the volume's.
    pub(super) kept: OnceLock<Ino>,
    stopped: CancellationToken,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfs")
            .field("files", &self.inodes.len())
            .field("dirty_bytes", &self.budget.bytes_used())
            .finish_non_exhaustive()
    }
}

impl Vfs {
    /// A file system over a session and a block store. Must be called on a tokio runtime, on which
    /// the background work then runs.
    pub fn open(meta: Arc<dyn MetaApi>, slices: SliceStore, options: VfsOptions) -> Self {
        let options = options.settled();
        let meta = Meta::new(meta);
        let core = Arc::new(Core {
            grants: Grants::new(meta.clone()),
            meta,
            slices,
            budget: Budget::new(options.dirty_bytes_max, options.dirty_slices_max),
            inodes: InodeTable::default(),
            handles: HandleTable::default(),
            opens: OpensInFlight::default(),
            tables: SliceTables::new(options.table_bytes),
            readahead: Arc::new(Semaphore::new(options.readahead_total_bytes as usize)),
            page_cache: Cache::new(options.remembered_files),
            stats: Arc::default(),
            access_log: Arc::new(AccessLog::new(options.access_log_lines)),
            access_times: AccessTimes::new(&options),
            kept: OnceLock::new(),
            stopped: CancellationToken::new(),
            options,
        });
        tokio::spawn(flush_rounds(Arc::downgrade(&core), core.stopped.clone()));
        Self { core }
    }

    /// Flushes everything, then ends the session.
    ///
    /// # Errors
    /// As [`Self::stored`]: data was lost, now or earlier, and nobody has been told.
    pub async fn shutdown(&self) -> Result<(), VfsError> {
        let flushed = self.flush_all().await;
        failpoint::pass(Point::MountFlushed);
        self.core.tell_last_accesses().await;
        self.core.stopped.cancel();
        self.core.meta.api().close().await;
        // Whoever still had a file open may have written meanwhile.
        flushed.and_then(|()| self.stored())
    }

    /// Waits until all data written so far is committed.
    ///
    /// # Errors
    /// A loss that no handle was told.
    pub async fn flush_all(&self) -> Result<(), VfsError> {
        for inode in self.core.inodes.dirty() {
            self.core.drain(&inode).await;
        }
        self.core.inodes.untold().map_or(Ok(()), Err)
    }

    /// Whether all that was written is committed.
    ///
    /// # Errors
    /// A loss that no handle was told; [`VfsError::Unstored`] if data waits.
    pub fn stored(&self) -> Result<(), VfsError> {
        match (self.core.inodes.untold(), self.pending_bytes()) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(()),
            (None, bytes) => Err(VfsError::Unstored(bytes)),
        }
    }

    /// Which of `asked` this mount holds: open, or with data that waits. Answers when all opens
    /// that were on their way have settled.
    pub async fn held(&self, asked: &[Ino]) -> Vec<Ino> {
        self.core.opens.settled().await;
        let held = asked.iter().filter(|ino| self.core.inodes.holds(**ino));
        held.copied().collect()
    }

    /// Says how long the kernel may show a file without asking again; `None` if nothing tells when
    /// it changes. What this mount has open it changes by itself.
    pub fn hand_on(&self, entry: Option<(Ino, &Name)>, attr: &Attr) -> Option<HandedOn> {
        let mut handed = self.core.meta.api().hand_on(entry, attr)?;
        if self.core.inodes.get(attr.ino).is_some() {
            handed.attr = Duration::ZERO;
        }
        Some(handed)
    }

    /// Says how long the kernel is told when one of a file's ACLs changes, of which this is the value;
    /// `None` if nothing tells. It is told as it is of attributes.
    pub fn hand_on_acl(&self, ino: Ino, kind: AclKind, value: Option<&[u8]>) -> Option<Duration> {
        self.core.meta.api().hand_on_acl(ino, kind, value)
    }

    /// Says who has the kernel forget what it was handed on.
    pub fn forgets(&self, forgets: Arc<dyn Forgets>) {
        self.core.meta.api().forgets(forgets);
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.core.stats
    }

    /// What was done lately.
    pub fn access_log(&self) -> &Arc<AccessLog> {
        &self.core.access_log
    }

    /// Bounds and times.
    pub fn options(&self) -> &VfsOptions {
        &self.core.options
    }

    /// How the way to the engine is.
    pub fn meta_status(&self) -> MetaStatus {
        self.core.meta.api().status()
    }

    /// Written bytes that wait for their commit.
    pub fn pending_bytes(&self) -> u64 {
        self.core.budget.bytes_used() as u64
    }

    /// Slices that wait for their commit.
    pub fn pending_slices(&self) -> u64 {
        self.core.budget.slices_used() as u64
    }

    /// Open handles.
    pub fn open_handles(&self) -> u64 {
        self.core.handles.len() as u64
    }

    /// Refuses on a read-only mount.
    pub(super) fn writable(&self) -> Result<(), VfsError> {
        if self.core.options.read_only {
            Err(VfsError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

impl Core {
    /// Attributes as this mount shows them: with pending writes and noted reads, and with appends placed.
    pub(super) async fn shown(
        self: &Arc<Self>,
        caller: &Caller,
        attr: Attr,
    ) -> Result<Attr, VfsError> {
        let Some(inode) = self.inodes.get(attr.ino) else {
            return Ok(self.access_times.over(attr));
        };
        if !inode.lock().pending.has_appends() {
            return Ok(self.access_times.over(inode.learn(attr)));
        }
        self.drain(&inode).await;
        let body = QueryBody::GetAttr { ino: attr.ino };
        let attr = self.meta.attr(caller, body).await?;
        Ok(self.access_times.over(inode.learn(attr)))
    }

    /// Attributes of a listing as this mount shows them at this moment, without waiting. They are
    /// never shorter than what was written here, for the kernel would cut off its pages: appends
    /// that wait count with their bytes, which is the least that the file will have.
    pub(super) fn shown_now(&self, attr: Attr) -> Attr {
        let attr = self.meta.newest(attr);
        let Some(inode) = self.inodes.get(attr.ino) else {
            return self.access_times.over(attr);
        };
        let mut state = inode.lock();
        state.learn(attr);
        let mut shown = state.shown();
        shown.length = shown.length.saturating_add(state.pending.append_bytes());
        self.access_times.over(shown)
    }
}

async fn flush_rounds(core: Weak<Core>, stopped: CancellationToken) {
    let mut rounds = tokio::time::interval(FLUSH_ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = stopped.cancelled() => return,
        }
        let Some(core) = core.upgrade() else {
            return;
        };
        core.flush_due(Instant::now());
        core.tell_accesses_soon();
    }
}
