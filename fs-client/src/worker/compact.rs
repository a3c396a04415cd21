//! Compaction: a chunk that was written in many small pieces gets few slices, so that it is read fast.
//!
//! The engine marks a chunk each time that its file has got some slices more. A mount looks whether there
//! are marks, and asks for the task only if there are: one mount at a time does it, one chunk after the
//! other. What it cannot read stays as it is, and keeps its mark.

use super::error::ClaimLost;
use super::looks::Looks;
use super::offer::Offer;
use super::set_aside::SetAside;
use crate::vfs::{CompactError, Compacted, Compactor, MetaApi, Stats, VfsError};
use chunk_store::{Limits, SliceStore};
use meta_core::attr::Caller;
use meta_core::command::Operation;
use meta_core::compaction::{Compact, Effort};
use meta_core::ids::{ChunkIndex, Ino, SliceOrder};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use meta_core::task::{Claim, Task};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a mount looks for chunks to compact. A look costs one question; within this time one writer
/// that waits for each of its writes adds some thousand slices to a chunk, which a read can still take.
pub const COMPACT_INTERVAL: Duration = Duration::from_secs(10);

/// What compaction on a mount uses beside what the mount uses itself. Small, since it must hold up nobody,
/// and apart, so that no write waits for one of its uploads.
pub const COMPACTION_LIMITS: Limits = Limits {
    uploads: 4,
    upload_bytes: 32 << 20,
    downloads: 8,
    memory_bytes: 8 << 20,
    retry_for: Duration::from_secs(60),
};

/// The engine gives the task to whoever asks while nobody has it: there is no time at which it is due.
const CLAIM_INTERVAL: Duration = Duration::from_millis(1);
/// Chunks asked for at once while some are passed by.
const PAGE: u32 = 64;
/// Chunks that cannot be compacted, one time through all, before that is taken for a failure of the store.
const FAILURES_MAX: u32 = 8;
/// Before all chunks.
const START: (Ino, ChunkIndex) = (Ino(0), ChunkIndex(0));

/// How a look ended.
enum Looked {
    /// There is nothing left to do, or nothing that can be done now.
    Done,
    /// Another mount has the task, for so long if it falls silent.
    Held(Duration),
}

/// The task, as one mount does it.
#[derive(Debug)]
pub(super) struct Compactions {
    offer: Offer,
    meta: Arc<dyn MetaApi>,
    compactor: Compactor,
    looks: Looks,
    aside: SetAside,
    /// Looks in a row that have failed.
    failures: u32,
}

impl Compactions {
    pub(super) fn new(
        meta: Arc<dyn MetaApi>,
        slices: SliceStore,
        stats: Arc<Stats>,
        interval: Duration,
    ) -> Self {
        Self {
            offer: Offer::new(Arc::clone(&meta), Task::Compact, CLAIM_INTERVAL),
            compactor: Compactor::new(Arc::clone(&meta), slices, stats),
            meta,
            looks: Looks::every(interval),
            aside: SetAside::default(),
            failures: 0,
        }
    }

    /// Looks once for chunks to compact, and compacts them if no other mount does. Tells how long to wait
    /// before the next look.
    pub(super) async fn round(&mut self) -> Duration {
        let looked = self.look().await;
        match looked {
            Ok(looked) => {
                self.failures = 0;
                match looked {
                    Looked::Done => self.looks.done(),
                    Looked::Held(retry) => self.looks.held(retry),
                }
            }
            Err(error) if is_not_known(&error) => {
                tracing::debug!(%error, "the cluster does not take compaction");
                self.looks.not_known()
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(%error, "slices are not compacted; it is tried again");
                self.looks.failed(self.failures)
            }
        }
    }

    async fn look(&mut self) -> Result<Looked, CompactError> {
        self.aside.forget_past(Instant::now());
        if self.next(START).await?.is_none() {
            return Ok(Looked::Done);
        }
        let lease = match self.offer.claim().await? {
            Claim::Given { lease_ms, .. } => Duration::from_millis(lease_ms),
            Claim::Held { retry_ms } | Claim::NotDue { retry_ms } => {
                return Ok(Looked::Held(Duration::from_millis(retry_ms)));
            }
        };
        let offer = self.offer.clone();
        match offer.hold(lease, self.work_through()).await {
            Ok(done) => {
                if let Err(error) = offer.release().await {
                    // It lapses.
                    tracing::debug!(%error, "compaction was not given back");
                }
                done.map(|()| Looked::Done)
            }
            Err(ClaimLost) => {
                tracing::debug!("another mount was given compaction meanwhile");
                Ok(Looked::Held(lease))
            }
        }
    }

    /// Compacts all chunks that are marked. One that cannot be read holds up no other one.
    async fn work_through(&mut self) -> Result<(), CompactError> {
        let mut after = START;
        let mut failed = 0;
        while let Some(at) = self.next(after).await? {
            after = at;
            let Err(error) = self.one(at).await else {
                continue;
            };
            if !error.is_of_chunk() {
                return Err(error);
            }
            let (ino, chunk) = (at.0.0, at.1.0);
            tracing::warn!(ino, chunk, %error, "a chunk's slices stay as they are");
            self.aside.put(at, Instant::now() + self.looks.seldom());
            failed += 1;
            if failed == FAILURES_MAX {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn one(&self, (ino, chunk): (Ino, ChunkIndex)) -> Result<(), CompactError> {
        let mut done = Compacted::default();
        let compacted = self
            .compactor
            .compact(ino, chunk, Effort::Enough, &mut done)
            .await;
        match compacted {
            Ok(()) => tracing::debug!(
                ino = ino.0,
                chunk = chunk.0,
                before = done.slices_before,
                after = done.slices_after,
                bytes = done.bytes,
                "a chunk is compacted"
            ),
            // There may be a mark left of it.
            Err(error) if error.is_gone() => {}
            Err(error @ CompactError::Changing) => {
                // It keeps its mark: the next look finds it.
                tracing::debug!(ino = ino.0, chunk = chunk.0, %error, "a chunk is left for later");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.unmark(ino, chunk).await
    }

    /// Says that nothing can be made better there. What comes later marks it again.
    async fn unmark(&self, ino: Ino, chunk: ChunkIndex) -> Result<(), CompactError> {
        let nothing = Operation::Compact(Compact {
            ino,
            chunk,
            first: SliceOrder(0),
            last: SliceOrder(0),
            seen: 0,
            slices: Vec::new(),
        });
        self.meta.execute(Caller::root(), nothing).await?;
        Ok(())
    }

    /// The first chunk behind another one that is marked, and not passed by.
    async fn next(
        &self,
        mut after: (Ino, ChunkIndex),
    ) -> Result<Option<(Ino, ChunkIndex)>, CompactError> {
        let count_max = if self.aside.is_empty() { 1 } else { PAGE };
        loop {
            let body = QueryBody::Compactable { after, count_max };
            let Answer::Chunks(chunks) = self.meta.query(Caller::root(), body).await? else {
                return Err(VfsError::Unexpected("chunks to compact").into());
            };
            if chunks.iter().any(|at| *at <= after) {
                return Err(VfsError::Unexpected("chunks that lead further").into());
            }
            let now = Instant::now();
            let is_due = |at: &&(Ino, ChunkIndex)| !self.aside.holds(**at, now);
            if let Some(found) = chunks.iter().find(is_due) {
                return Ok(Some(*found));
            }
            match chunks.into_iter().max() {
                Some(last) => after = last,
                None => return Ok(None),
            }
        }
    }
}

/// Whether the cluster does no compaction: it is of an earlier version, or the volume of an earlier level or
/// a mirror.
fn is_not_known(error: &CompactError) -> bool {
    let none = [Refusal::NotSupported, Refusal::Mirror];
    match error {
        CompactError::Meta(VfsError::NotUnderstood(_)) => true,
        CompactError::Meta(VfsError::Refused(refusal)) => none.contains(refusal),
        _ => false,
    }
}
