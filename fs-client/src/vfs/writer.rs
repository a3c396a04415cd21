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
//!
//! What a limit of space refuses is stored as far as there is room, as a file system on a disk would have done:
//! the room is asked for, and the first bytes of what was refused are committed alone. A block's name holds
//! its size, so the slice that is cut is uploaded once more, shorter and under a fresh id.

use super::VfsError;
use super::handle::FileHandle;
use super::inode::{Inode, InodeState};
use super::pending::{Batch, Fitting, Part, Place, Ready, Step};
use super::vfs_core::Core;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::command::{Append, AppendSlice, Commit, NewSlice, Operation};
use meta_core::failpoint::{self, Point};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use meta_core::quota::Subject;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

/// Commits of the same data under fresh ids before the error is told.
const COMMIT_ATTEMPTS: u32 = 5;
/// Slices of one batch that are uploaded again at a time.
const UPLOADS_AGAIN: usize = 8;
/// Commits of what there is room for of a batch: others may take the room before it is used.
const FIT_ATTEMPTS: u32 = 8;
/// Limits of space count files in whole units of so many bytes.
const COUNTED_BYTES: u64 = 4096;

/// What was committed of a batch that was refused as a whole.
struct Kept {
    attr: Attr,
    fitting: Fitting,
}

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
                Step::Fail(error) => self.fail(inode, None, error),
            }
        }
    }

    async fn commit(&self, inode: &Arc<Inode>, mut batch: Batch) {
        let error = match self.try_commit(inode.ino, &mut batch).await {
            Ok(attr) => return self.committed(inode, batch.slices.len(), attr),
            Err(error) => error,
        };
        let kept = if is_past_a_limit(&error) && batch.is_divisible() {
            match self.commit_what_fits(inode.ino, &batch).await {
                Ok(kept) => kept,
                Err(error) => return self.fail(inode, None, error),
            }
        } else {
            None
        };
        match kept {
            // There was room again.
            Some(kept) if kept.fitting.slices == batch.slices.len() => {
                self.committed(inode, kept.fitting.slices, kept.attr);
            }
            kept => self.fail(inode, kept, error),
        }
    }

    async fn try_commit(&self, ino: Ino, batch: &mut Batch) -> Result<Attr, VfsError> {
        let mut attempt = 1;
        loop {
            let operation = batch.operation(ino);
            failpoint::pass(Point::SliceCommit);
            let changed = self
                .meta
                .change_in(batch.under, &batch.caller, operation)
                .await;
            failpoint::pass(Point::SliceCommitted);
            let error = match changed {
                Ok(attr) => return Ok(attr),
                Err(error) => error,
            };
            if attempt == COMMIT_ATTEMPTS || !batch.may_repeat(&error) {
                return Err(error);
            }
            tracing::warn!(ino = ino.0, %error, "a commit is repeated under fresh slice ids");
            self.upload_again(batch).await?;
            attempt += 1;
        }
    }

    /// Commits as much of the beginning of a refused batch as limits leave room for, if they leave any. That it
    /// is not known how much this is, or what of it is stored, is not told to the writer: that its data did not
    /// fit is true all the same.
    ///
    /// # Errors
    /// How else its commit ended: then it may be done.
    async fn commit_what_fits(&self, ino: Ino, batch: &Batch) -> Result<Option<Kept>, VfsError> {
        for _ in 0..FIT_ATTEMPTS {
            let (length, length_max) = match self.lengths(ino).await {
                Ok((length, Some(length_max))) => (length, length_max),
                Ok((_, None)) => return Ok(None),
                Err(error) => {
                    tracing::warn!(ino = ino.0, %error, "it is not known how much would fit");
                    return Ok(None);
                }
            };
            let mut fitting = batch.fitting(length, length_max);
            let mut part = batch.part(batch.slices.iter().take(fitting.slices).cloned().collect());
            match self.cut(batch, fitting).await {
                Ok(cut) => part.slices.extend(cut),
                // What is whole of it is stored.
                Err(error) => {
                    tracing::warn!(ino = ino.0, %error, "what would fit of a slice is not stored");
                    fitting.bytes = 0;
                }
            }
            if part.slices.is_empty() {
                return Ok(None);
            }
            match self.try_commit(ino, &mut part).await {
                Ok(attr) => return Ok(Some(Kept { attr, fitting })),
                Err(error) if is_past_a_limit(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Uploads the part of a slice that fits, if one is to be cut.
    async fn cut(&self, batch: &Batch, fitting: Fitting) -> Result<Option<Ready>, VfsError> {
        let Some(slice) = batch.slices.get(fitting.slices) else {
            return Ok(None);
        };
        if fitting.bytes == 0 {
            return Ok(None);
        }
        let buffer = Arc::new(slice.buffer.prefix(fitting.bytes));
        let stored = self.upload(&buffer).await?;
        Ok(Some(Ready {
            place: slice.place,
            buffer,
            stored,
        }))
    }

    /// How long a file is, and how long it may become as the limits say that it counts for; `None` if it
    /// counts for none.
    async fn lengths(&self, ino: Ino) -> Result<(u64, Option<u64>), VfsError> {
        // Only root may ask for what all users and groups have.
        let root = Caller::root();
        let body = QueryBody::GetAttr { ino };
        let attr = self.meta.attr(&root, body).await?;
        let body = QueryBody::Space { ino };
        let Answer::Space(space) = self.meta.query(&root, body).await? else {
            return Err(VfsError::Unexpected("space"));
        };
        let mut least = space.bytes.map(|room| room.left());
        // A file without a name counts for the volume alone.
        let owners = [Subject::User(attr.uid), Subject::Group(attr.gid)];
        let owners = if attr.nlink > 0 { &owners[..] } else { &[] };
        for owner in owners {
            let body = QueryBody::Usage(*owner);
            let Answer::Usage(usage) = self.meta.query(&root, body).await? else {
                return Err(VfsError::Unexpected("what an owner uses"));
            };
            let limit = usage.limit.bytes;
            let left = limit.map(|limit| limit.saturating_sub(usage.amount.bytes));
            least = least.into_iter().chain(left).min();
        }
        let counted = attr.length.checked_next_multiple_of(COUNTED_BYTES);
        let counted = counted.unwrap_or(u64::MAX);
        let length_max = least.map(|left| counted.saturating_add(left - left % COUNTED_BYTES));
        Ok((attr.length, length_max))
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
        self.count_commit(count);
        let mut state = inode.lock();
        // The new version is known before the slices go, so that no read finds neither.
        state.learn(attr);
        state.pending.committed(count);
        self.settle(inode, &state);
    }

    fn count_commit(&self, slices: usize) {
        self.stats.commits.fetch_add(1, Relaxed);
        let slices = slices as u64;
        self.stats.committed_slices.fetch_add(slices, Relaxed);
    }

    /// Drops what is pending but for what was kept of it: the oldest slice cannot be stored, and the file
    /// shall hold a prefix of what was written.
    fn fail(&self, inode: &Arc<Inode>, kept: Option<Kept>, error: VfsError) {
        let mut state = inode.lock();
        let mut kept_bytes = 0;
        if let Some(Kept { attr, fitting }) = kept {
            kept_bytes = u64::from(fitting.bytes);
            self.count_commit(fitting.slices + usize::from(fitting.bytes > 0));
            state.learn(attr);
            state.pending.committed(fitting.slices);
        }
        let lost_bytes = state.pending.drop_all().saturating_sub(kept_bytes);
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

/// Whether a limit of space is in the way, or so it seems: nodes that are short of space say the same.
fn is_past_a_limit(error: &VfsError) -> bool {
    let past = [Refusal::OverQuota, Refusal::NoSpace].map(VfsError::Refused);
    past.contains(error)
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
