//! Requests for locks.

use super::adapter::Adapter;
use super::{errno, lock_kind, signals};
use crate::vfs::{GiveUp, HandleId, LockAsked, Op, VfsError};
use fuser::{FileHandle, INodeNo, LockOwner, ReplyEmpty, ReplyLock, Request};
use futures::FutureExt;
use meta_core::lock::{HeldLock, LockKind, LockMode, LockRange};
use meta_core::outcome::Refusal;
use std::sync::Arc;

/// A lock as the kernel asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) file: INodeNo,
    pub(super) handle: FileHandle,
    pub(super) owner: LockOwner,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) typ: i32,
    pub(super) pid: u32,
}

impl Asked {
    fn range(&self) -> LockRange {
        LockRange {
            first: self.first,
            last: self.last,
        }
    }

    /// `None` for an unlock.
    fn mode(&self) -> Result<Option<LockMode>, Refusal> {
        match self.typ {
            libc::F_RDLCK => Ok(Some(LockMode::Shared)),
            libc::F_WRLCK => Ok(Some(LockMode::Exclusive)),
            libc::F_UNLCK => Ok(None),
            _ => Err(Refusal::InvalidArgument),
        }
    }

    fn wanted(&self, kind: Option<LockKind>, mode: LockMode) -> LockAsked {
        LockAsked {
            kind,
            owner: self.owner.0,
            pid: self.pid,
            range: self.range(),
            mode,
        }
    }
}

impl Adapter {
    pub(super) fn set_lock(&self, request: &Request, asked: Asked, wait: bool, reply: ReplyEmpty) {
        let Asked {
            file,
            first,
            last,
            typ,
            ..
        } = asked;
        let what = format_args!("{file},{first},{last},{typ},{wait}");
        let call = self.call(Op::SetLock, request, what);
        let (vfs, shows, thread) = (self.vfs.clone(), self.shows.clone(), request.pid());
        let id = HandleId(asked.handle.0);
        let work = async move {
            let Some(mode) = asked.mode()? else {
                let kinds = vfs.lock_kinds(id, asked.owner.0)?;
                let kind = match kinds.len() {
                    0 | 1 => None,
                    _ => lock_kind::of(thread).await,
                };
                return vfs.unlock(id, kind, asked.owner.0, asked.range()).await;
            };
            let wanted = asked.wanted(lock_kind::of(thread).await, mode);
            let give_up: GiveUp = Arc::new(move || signals::interrupted(thread).boxed());
            if vfs.lock(id, wanted, wait.then_some(give_up)).await? {
                shows.drop_pages(asked.file).await;
            }
            Ok(())
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    pub(super) fn get_lock(&self, request: &Request, asked: Asked, reply: ReplyLock) {
        let Asked {
            file,
            first,
            last,
            typ,
            ..
        } = asked;
        let what = format_args!("{file},{first},{last},{typ}");
        let call = self.call(Op::GetLock, request, what);
        let (vfs, thread) = (self.vfs.clone(), request.pid());
        let work = async move {
            let Some(mode) = asked.mode()? else {
                return Err(VfsError::from(Refusal::InvalidArgument));
            };
            let wanted = asked.wanted(lock_kind::of(thread).await, mode);
            vfs.get_lock(HandleId(asked.handle.0), wanted).await
        };
        self.serve(call, reply, work, |reply, found| match found {
            None => reply.locked(0, 0, libc::F_UNLCK, 0),
            Some((held, is_ours)) => {
                let HeldLock {
                    range, mode, pid, ..
                } = held;
                let typ = match mode {
                    LockMode::Shared => libc::F_RDLCK,
                    LockMode::Exclusive => libc::F_WRLCK,
                };
                // A process of another machine has no number here.
                let pid = if is_ours { pid } else { 0 };
                reply.locked(range.first, range.last, typ, pid);
            }
        });
    }

    /// Whether a handle stands for a file that can be locked.
    pub(super) fn refuses_locks(handle: FileHandle) -> Option<fuser::Errno> {
        super::virtual_files::is_virtual(handle.0).then_some(errno::NO_LOCKS)
    }
}
