//! Locks on files, for programs of this mount against those of all others.

use super::VfsError;
use super::file_locks::Owner;
use super::handle::{FileHandle, HandleId};
use super::inode::Inode;
use super::vfs_core::{Core, Vfs};
use futures::future::BoxFuture;
use meta_client::{LockEnd, LockWish};
use meta_core::attr::Caller;
use meta_core::ids::SessionId;
use meta_core::lock::{HeldLock, LockKind, LockMode, LockRange, UnlockRequest};
use meta_core::query::QueryBody;
use std::sync::Arc;

/// A lock that a program wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockAsked {
    /// What kind; `None` if that is not known.
    pub kind: Option<LockKind>,
    /// Who, as the kernel numbers them.
    pub owner: u64,
    /// The process.
    pub pid: u32,
    /// The bytes.
    pub range: LockRange,
    /// Whom it excludes.
    pub mode: LockMode,
}

impl LockAsked {
    /// The kinds of lock that it takes. What may be either a flock or a record lock on the whole file
    /// is both, in this order, so that it excludes whoever it is meant to exclude.
    fn kinds(&self) -> &'static [LockKind] {
        match self.kind {
            Some(LockKind::Posix) => &[LockKind::Posix],
            Some(LockKind::Ofd) => &[LockKind::Ofd],
            Some(LockKind::Flock) => &[LockKind::Flock],
            None if self.range == LockRange::WHOLE => &[LockKind::Flock, LockKind::Posix],
            None => &[LockKind::Posix],
        }
    }

    fn wish(&self, kind: LockKind, inode: &Inode) -> LockWish {
        LockWish {
            ino: inode.ino,
            kind,
            owner: self.owner,
            pid: self.pid,
            range: self.range,
            mode: self.mode,
        }
    }
}

impl Vfs {
    /// Takes a lock. With `give_up`, waits until it has it or that is over. From then on the mount shows
    /// what was written under the locks before: gives whether pages that the kernel may hold of the file
    /// are not what it contains any more.
    ///
    /// # Errors
    /// [`VfsError::WouldBlock`], [`VfsError::Deadlock`], [`VfsError::Interrupted`] if it was given up, and
    /// [`VfsError::LockLost`] if the owner has lost locks on the file and not given them back; else as the
    /// engine refuses.
    pub async fn lock(
        &self,
        id: HandleId,
        asked: LockAsked,
        give_up: Option<GiveUp>,
    ) -> Result<bool, VfsError> {
        let handle = self.core.handles.file(id)?;
        let mut first = None;
        for kind in asked.kinds() {
            let owner = (*kind, asked.owner);
            let taken = self.core.take(id, &handle, owner, &asked, give_up.as_ref());
            if let Err(error) = taken.await {
                if let Some(first) = first {
                    let given = self.core.give_back(&handle.inode, first, asked.range);
                    given.await?;
                }
                return Err(error);
            }
            first.get_or_insert(owner);
        }
        let seen = self.core.see_newest(&handle.inode).await;
        if seen.is_err() {
            // Whoever gets an error has no lock.
            let (number, range) = (asked.owner, asked.range);
            let given = self
                .core
                .unlock_number(&handle.inode, asked.kind, number, range);
            given.await?;
        }
        seen
    }

    /// Gives locks back, after what was written is committed: those of one kind, or all that the owner
    /// has in the range.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn unlock(
        &self,
        id: HandleId,
        kind: Option<LockKind>,
        number: u64,
        range: LockRange,
    ) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        self.core
            .unlock_number(&handle.inode, kind, number, range)
            .await
    }

    /// A lock that is in the way of another, and whether it is one of this mount.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn get_lock(
        &self,
        id: HandleId,
        asked: LockAsked,
    ) -> Result<Option<(HeldLock, bool)>, VfsError> {
        let handle = self.core.handles.file(id)?;
        let kind = asked.kind.unwrap_or(LockKind::Posix);
        let api = self.core.meta.api();
        let held = api.get_lock(asked.wish(kind, &handle.inode)).await?;
        let current = api.session();
        Ok(held.map(|held| (held, held.owner.session == current)))
    }

    /// A process closes a descriptor of the file: its record locks on it go, as POSIX has it.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn unlock_closed(&self, id: HandleId, number: u64) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        let range = LockRange::WHOLE;
        self.core
            .unlock_number(&handle.inode, None, number, range)
            .await
    }

    /// The kinds of locks that an owner has on the file of a handle.
    ///
    /// # Errors
    /// [`VfsError::BadHandle`].
    pub fn lock_kinds(&self, id: HandleId, number: u64) -> Result<Vec<LockKind>, VfsError> {
        let handle = self.core.handles.file(id)?;
        let kinds = handle.inode.lock().locks.kinds_of(number);
        Ok(kinds)
    }

    /// Whether the handle may still write: not if locks that were taken in it are lost.
    ///
    /// # Errors
    /// [`VfsError::LockLost`].
    pub fn may_write(&self, id: HandleId) -> Result<(), VfsError> {
        let handle = self.core.handles.file(id)?;
        self.core.check_fence(id, &handle)
    }

    /// Owners of this mount that have locks, over all files.
    pub fn lock_owners(&self) -> u64 {
        self.core.inodes.lock_owners()
    }
}

/// Says when a request that waits is given up. It may be asked more than once.
pub type GiveUp = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Core {
    async fn take(
        &self,
        id: HandleId,
        handle: &FileHandle,
        owner: Owner,
        asked: &LockAsked,
        give_up: Option<&GiveUp>,
    ) -> Result<(), VfsError> {
        let (inode, api) = (&handle.inode, self.meta.api());
        if inode.lock().locks.has_lost(owner, api.session()) {
            return Err(VfsError::LockLost);
        }
        let wish = asked.wish(owner.0, inode);
        let give_up = give_up.map(|give_up| give_up());
        let before = api.session();
        let note = |session: SessionId| {
            let mut state = inode.lock();
            state.locks.take(owner, asked.range, session, id);
        };
        match api.lock(wish, give_up).await {
            Ok(LockEnd::Granted(session)) => {
                note(session);
                if self.handles.file(id).is_err() {
                    // Its caller ended while it waited, and closed the file before there was anything to
                    // give back.
                    self.give_back(inode, owner, asked.range).await?;
                    return Err(VfsError::BadHandle);
                }
                Ok(())
            }
            Ok(end) => {
                if owner.0 == LockKind::Flock {
                    // One that was to be changed is gone.
                    inode.lock().locks.give_back(owner, LockRange::WHOLE);
                }
                Err(match end {
                    LockEnd::Deadlock => VfsError::Deadlock,
                    LockEnd::Cancelled => VfsError::Interrupted,
                    LockEnd::Conflict | LockEnd::Granted(_) => VfsError::WouldBlock,
                })
            }
            Err(error) => {
                if matches!(error, VfsError::Unknown(_)) {
                    // It is given back with the others.
                    note(before);
                }
                Err(error)
            }
        }
    }

    async fn unlock_number(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        kind: Option<LockKind>,
        number: u64,
        range: LockRange,
    ) -> Result<(), VfsError> {
        let kinds = inode.lock().locks.kinds_of(number);
        let kinds: Vec<LockKind> = kinds
            .into_iter()
            .filter(|held| kind.is_none_or(|kind| kind == *held))
            .collect();
        if kinds.is_empty() {
            return Ok(());
        }
        // What was written under them is there before anybody else has them. If it cannot be, the
        // handles are told.
        self.drain(inode).await;
        for kind in kinds {
            self.give_back(inode, (kind, number), range).await?;
        }
        Ok(())
    }

    async fn give_back(
        &self,
        inode: &Inode,
        owner: Owner,
        range: LockRange,
    ) -> Result<(), VfsError> {
        let given = UnlockRequest {
            ino: inode.ino,
            kind: owner.0,
            owner: owner.1,
            range,
        };
        // Also what is noted as lost: some of it may have been granted in the next session.
        self.meta.api().unlock(given).await?;
        inode.lock().locks.give_back(owner, range);
        Ok(())
    }

    /// Gives back what was taken in a handle that is closed for good.
    pub(super) async fn unlock_released(self: &Arc<Self>, id: HandleId, inode: &Arc<Inode>) {
        let owners = inode.lock().locks.release(id);
        if owners.is_empty() {
            return;
        }
        self.drain(inode).await;
        for owner in owners {
            let given = self.give_back(inode, owner, LockRange::WHOLE).await;
            if let Err(error) = given {
                // It goes with the session at the latest.
                tracing::error!(ino = inode.ino.0, %error, "a lock was not given back");
            }
        }
    }

    /// Asks for the file's newest state. Gives whether the kernel's pages may be of an earlier one.
    async fn see_newest(&self, inode: &Inode) -> Result<bool, VfsError> {
        let body = QueryBody::GetAttr { ino: inode.ino };
        let attr = self.meta.attr(&Caller::root(), body).await?;
        let version = attr.ctime;
        inode.learn(attr);
        let changed = self.page_cache.get(&inode.ino) != Some(version);
        if changed {
            self.page_cache.insert(inode.ino, version);
        }
        Ok(changed)
    }

    /// Refuses if locks that were taken in a handle are lost.
    pub(super) fn check_fence(&self, id: HandleId, handle: &FileHandle) -> Result<(), VfsError> {
        let state = handle.inode.lock();
        if state.locks.len() > 0 && state.locks.is_fenced(id, self.meta.api().session()) {
            return Err(VfsError::LockLost);
        }
        Ok(())
    }

    /// The session in which this mount has locks on a file, if it has some.
    pub(super) fn locked_in(&self, inode: &Inode) -> Option<SessionId> {
        let state = inode.lock();
        if state.locks.len() == 0 {
            return None;
        }
        state.locks.session(self.meta.api().session())
    }
}
