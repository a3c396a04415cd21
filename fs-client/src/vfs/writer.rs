//! Writes on their way from a buffer to the engine.
//!
//! [`Core::accept`] takes bytes in, [`Core::drain`] waits until everything taken in so far is
//! committed or has failed. Between them one task per file commits what is uploaded, in order.
//!
//! When a commit's outcome is unknown, or its ids were revoked with the session, the data is
//! uploaded again under fresh ids and committed again. For slices with a place that is safe even
//! if the first commit was done: the second lays the same bytes over them. An append whose outcome
//! is unknown is not repeated, for that could add it twice: it fails, and fsync and close say so. What
//! was written while this mount had a lock on the file is committed in the session of the lock alone:
//! if that is lost, it fails too.

use super::VfsError;
use super::handle::FileHandle;
use super::inode::{Inode, InodeState};
use super::pending::{Batch, Part, Place, Ready, Step};
use super::vfs_core::Core;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::command::{Append, AppendSlice, Commit, NewSlice, Operation};
use meta_core::failpoint::{self, Point};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

/// Commits of the same data under fresh ids before the error is told.
const COMMIT_ATTEMPTS: u32 = 5;
/// Slices of one batch that are uploaded again at a time.
const UPLOADS_AGAIN: usize = 8;

impl Core {
    /// Takes a write in: waits for memory, then puts it in the file's pending slices. A handle that
    /// was not told of a loss is told instead: what it writes comes behind what was lost, and
    /// would leave a hole.
    pub(super) async fn accept(
        self: &Arc<Self>,
        handle: &FileHandle,
        place: Place,
        data: Bytes,
        caller: &Caller,
    ) -> Result<(), VfsError> {
        let inode = &handle.inode;
        let share = self.budget.bytes(data.len(), || self.pressure()).await?;
        self.stats
            .written_bytes
            .fetch_add(data.len() as u64, Relaxed);
        let mut part = Part {
            place,
            data,
            caller: caller.clone(),
            now: now(),
            under: None,
            share,
        };
        let mut slot = None;
        loop {
            {
                let mut state = inode.lock();
                handle.tell_of(&mut state)?;
                part.under = state.locks.session(self.meta.api().session());
                let grows = state.pending.continues(&part, &self.options);
                if slot.is_none() && !grows {
                    slot = self.budget.try_slice();
                }
                match state.pending.add(part, slot.take(), &self.options) {
                    Ok(starts) => {
                        state.last_write = Instant::now();
                        self.inodes.mark_dirty(inode);
                        for start in starts {
                            self.start_upload(inode, start);
                        }
                        self.kick(inode, &mut state);
                        return Ok(());
                    }
                    Err(back) => part = *back,
                }
            }
            slot = Some(self.budget.slice(|| self.pressure()).await?);
        }
    }

    /// Memory is short: everything that waits is sent on its way.
    fn pressure(self: &Arc<Self>) {
        self.stats.pressure_rounds.fetch_add(1, Relaxed);
        for inode in self.inodes.dirty() {
            self.flush(&inode, &mut inode.lock());
        }
    }

    /// Sends a file's pending slices on their way. Gives the number of the newest.
    pub(super) fn flush(self: &Arc<Self>, inode: &Arc<Inode>, state: &mut InodeState) -> u64 {
        if let Some(start) = state.pending.seal() {
            self.start_upload(inode, start);
        }
        let newest = state.pending.want_all();
        self.kick(inode, state);
        newest
    }

    /// Flushes a file and waits until every write taken in so far is committed, or dropped with an
    /// error kept for the handles.
    pub(super) async fn drain(self: &Arc<Self>, inode: &Arc<Inode>) {
        let newest = {
            let mut state = inode.lock();
            if state.pending.is_empty() {
                return;
            }
            self.flush(inode, &mut state)
        };
        inode.settled(newest).await;
    }

    /// Starts the file's committing task, if there is something to do and none runs.
    pub(super) fn kick(self: &Arc<Self>, inode: &Arc<Inode>, state: &mut InodeState) {
        if state.committing || matches!(state.pending.next_step(), Step::Rest) {
            return;
        }
        state.committing = true;
        let (core, inode) = (Arc::clone(self), Arc::clone(inode));
        tokio::spawn(async move { core.commit_ready(&inode).await });
    }

    async fn commit_ready(&self, inode: &Arc<Inode>) {
        loop {
            let step = {
                let mut state = inode.lock();
                let step = state.pending.next_step();
                state.committing = !matches!(step, Step::Rest);
                step
            };
            match step {
                Step::Rest => return,
                Step::Commit(batch) => self.commit(inode, batch).await,
                Step::Fail(error) => self.fail(inode, error),
            }
        }
    }

    async fn commit(&self, inode: &Arc<Inode>, mut batch: Batch) {
        for attempt in 1.. {
            let operation = batch.operation(inode.ino);
            failpoint::pass(Point::SliceCommit);
            let changed = self
                .meta
                .change_in(batch.under, &batch.caller, operation)
                .await;
            failpoint::pass(Point::SliceCommitted);
            let error = match changed {
                Ok(attr) => return self.committed(inode, batch.slices.len(), attr),
                Err(error) => error,
            };
            if attempt == COMMIT_ATTEMPTS || !batch.may_repeat(&error) {
                return self.fail(inode, error);
            }
            tracing::warn!(ino = inode.ino.0, %error, "a commit is repeated under fresh slice ids");
            if let Err(error) = self.upload_again(&mut batch).await {
                return self.fail(inode, error);
            }
        }
    }

    async fn upload_again(&self, batch: &mut Batch) -> Result<(), VfsError> {
        for slice in &batch.slices {
            self.grants.revoke(slice.stored.lot).await;
        }
        let slices = std::mem::take(&mut batch.slices);
        batch.slices = futures::stream::iter(slices)
            .map(|slice| async move {
                let stored = self.upload(&slice.buffer).await?;
                Ok::<_, VfsError>(Ready { stored, ..slice })
            })
            .buffered(UPLOADS_AGAIN)
            .try_collect()
            .await?;
        Ok(())
    }

    fn committed(&self, inode: &Arc<Inode>, count: usize, attr: Attr) {
        self.stats.commits.fetch_add(1, Relaxed);
        self.stats.committed_slices.fetch_add(count as u64, Relaxed);
        let mut state = inode.lock();
        // The new version is known before the slices go, so that no read finds neither.
        state.learn(attr);
        state.pending.committed(count);
        self.settle(inode, &state);
    }

    /// Drops what is pending: the oldest slice cannot be stored, and the file shall hold a prefix
    /// of what was written.
    fn fail(&self, inode: &Arc<Inode>, error: VfsError) {
        let mut state = inode.lock();
        let lost_bytes = state.pending.drop_all();
        tracing::error!(ino = inode.ino.0, lost_bytes, %error, "written data cannot be stored");
        self.stats.lost_bytes.fetch_add(lost_bytes, Relaxed);
        self.stats.note_error(&error);
        state.fault(error);
        // The kernel may hold pages of what was lost under the version that stays.
        self.page_cache.remove(&inode.ino);
        self.settle(inode, &state);
    }

    fn settle(&self, inode: &Arc<Inode>, state: &InodeState) {
        if state.pending.is_empty() {
            self.inodes.mark_clean(inode);
        }
        inode.announce(state.pending.settled());
    }

    /// Flushes files that were not written to for a while, and data that waited long.
    pub(super) fn flush_due(self: &Arc<Self>, now: Instant) {
        for inode in self.inodes.dirty() {
            let mut state = inode.lock();
            let past =
                |since: Instant, bound: Duration| now.saturating_duration_since(since) >= bound;
            let idle = past(state.last_write, self.options.flush_idle);
            let oldest = state.pending.oldest();
            if idle || oldest.is_some_and(|begun| past(begun, self.options.flush_age)) {
                self.flush(&inode, &mut state);
            }
        }
    }
}

impl Batch {
    fn operation(&self, ino: Ino) -> Operation {
        let slices = self.slices.iter();
        if self.append {
            let slices = slices.map(|slice| AppendSlice {
                id: slice.stored.id,
                len: slice.buffer.len(),
                frame_crcs: slice.stored.frame_crcs.clone(),
            });
            return Operation::Append(Append {
                ino,
                slices: slices.collect(),
            });
        }
        let slices = slices.filter_map(|slice| match slice.place {
            Place::At(chunk, at) => Some(NewSlice {
                chunk,
                at,
                id: slice.stored.id,
                len: slice.buffer.len(),
                frame_crcs: slice.stored.frame_crcs.clone(),
            }),
            Place::End => None,
        });
        Operation::Commit(Commit {
            ino,
            slices: slices.collect(),
            // The time that `stat` showed while the data waited must not change at the commit:
            // tools that compare times would take the file for changed.
            mtime: Some(self.written),
        })
    }

    fn may_repeat(&self, error: &VfsError) -> bool {
        match error {
            // Not executed: the ids went with their session.
            VfsError::Refused(Refusal::GrantRevoked) => true,
            // With the session went the locks that it was written under.
            VfsError::SessionLost(_) => self.under.is_none(),
            VfsError::Unknown(_) => !self.append,
            _ => false,
        }
    }
}

/// This machine's clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}
