//! Locks on files: taken and given back exactly once, and waited for across leaders and sessions.
//!
//! A request that waits is a row of the cluster. The leader that grants it says so by itself; if that
//! word is lost with the leader or the stream, the request, made again now and then under its number,
//! tells how it stands. What is locked belongs to one session of the cluster and ends with it: who is
//! given a lock is told in which, and nothing is taken over into the next.

use super::{Inner, MetaSession};
use crate::error::{ClientError, Failure};
use meta_core::attr::Caller;
use meta_core::command::Operation;
use meta_core::ids::{Ino, SessionId};
use meta_core::lock::{
    GetLock, HeldLock, LockKind, LockMode, LockOwner, LockRange, LockRequest, LockState,
    UnlockRequest,
};
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, QueryBody};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How often a request that waits asks how it stands, should nobody tell it.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// Sessions that one request for a lock tries before it gives up.
const SESSIONS_TRIED: usize = 8;

/// A lock that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockWish {
    /// The file.
    pub ino: Ino,
    /// The kind.
    pub kind: LockKind,
    /// The owner: a number that stands for nobody else in this session.
    pub owner: u64,
    /// Its process, for whoever asks who has the lock.
    pub pid: u32,
    /// The bytes.
    pub range: LockRange,
    /// Whom it excludes.
    pub mode: LockMode,
}

/// How a request for a lock ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockEnd {
    /// The owner has the lock, as long as this session of the cluster lives.
    Granted(SessionId),
    /// Another lock is in the way.
    Conflict,
    /// It would have waited for somebody who waits for its owner.
    Deadlock,
    /// It was given up while it waited.
    Cancelled,
}

impl MetaSession {
    /// Takes a lock if none is in its way.
    ///
    /// # Errors
    /// [`Refusal::NoLocks`] if there are too many, or the cluster does not know locks yet; else as
    /// [`Self::execute`].
    pub async fn try_lock(&self, wish: LockWish) -> Result<LockEnd, ClientError> {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.try_lock(wish).await }).await)
    }

    /// Takes a lock, and waits while another one is in its way, until `give_up` is over. Dropping the
    /// future does not give it up.
    ///
    /// # Errors
    /// As [`Self::try_lock`].
    pub async fn lock(
        &self,
        wish: LockWish,
        give_up: impl Future<Output = ()> + Send + 'static,
    ) -> Result<LockEnd, ClientError> {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.lock(wish, give_up).await }).await)
    }

    /// Gives back what the owner has locked in a range of a file. What it had in a session that is
    /// lost is given back already.
    ///
    /// # Errors
    /// As [`Self::try_lock`].
    pub async fn unlock(&self, given: UnlockRequest) -> Result<(), ClientError> {
        let inner = Arc::clone(&self.inner);
        ended(tokio::spawn(async move { inner.unlock(given).await }).await)
    }

    /// A lock that is in the way of another.
    ///
    /// # Errors
    /// As [`Self::try_lock`].
    pub async fn get_lock(&self, wish: LockWish) -> Result<Option<HeldLock>, ClientError> {
        let LockWish {
            ino,
            kind,
            owner,
            range,
            mode,
            ..
        } = wish;
        let owner = LockOwner {
            session: self.inner.session_id(),
            kind,
            number: owner,
        };
        let asked = GetLock {
            ino,
            owner,
            range,
            mode,
        };
        let answer = self
            .inner
            .query(Caller::root(), QueryBody::GetLock(asked))
            .await;
        match answer.map_err(known)? {
            Answer::Lock(held) => Ok(held),
            _ => Err(unexpected()),
        }
    }
}

/// What a task gave.
fn ended<T>(
    joined: Result<Result<T, ClientError>, tokio::task::JoinError>,
) -> Result<T, ClientError> {
    let early = |error| ClientError::Unknown(format!("the task ended early: {error}"));
    joined.unwrap_or_else(|error| Err(early(error)))
}

fn unexpected() -> ClientError {
    Failure::BadReply("an answer to another request".into()).into()
}

/// A cluster with a member of an earlier version gives no locks.
fn known(error: ClientError) -> ClientError {
    match error {
        ClientError::Failed(Failure::BadRequest(why)) => {
            tracing::warn!(why, "the metadata cluster gives no locks");
            Refusal::NoLocks.into()
        }
        other => other,
    }
}

impl LockWish {
    fn request(self, wait: Option<u64>) -> Operation {
        let Self {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
        } = self;
        Operation::Lock(LockRequest {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
            wait,
        })
    }
}

impl Inner {
    /// Does an operation on locks, and says in which session. One that is lost with its session has
    /// done nothing that lasts, so that it can be done again in the next.
    async fn on_locks(&self, operation: Operation) -> Result<(Success, SessionId), ClientError> {
        let mut tries = 1;
        loop {
            let before = self.era();
            let done = self
                .execute_in(None, Caller::root(), operation.clone(), &[])
                .await
                .map_err(known);
            match done {
                Ok((success, _, session)) => return Ok((success, session)),
                Err(ClientError::Unknown(why))
                    if before.over.is_cancelled() && tries < SESSIONS_TRIED =>
                {
                    tracing::debug!(why, "a request for a lock was lost with its session");
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_lock(&self, wish: LockWish) -> Result<LockEnd, ClientError> {
        let (state, session) = self.ask_for(wish.request(None)).await?;
        Ok(match state {
            LockState::Granted => LockEnd::Granted(session),
            LockState::Deadlock => LockEnd::Deadlock,
            LockState::Conflict | LockState::Waiting => LockEnd::Conflict,
        })
    }

    async fn ask_for(&self, request: Operation) -> Result<(LockState, SessionId), ClientError> {
        match self.on_locks(request).await? {
            (Success::Locked { state, .. }, session) => Ok((state, session)),
            _ => Err(unexpected()),
        }
    }

    async fn lock(
        &self,
        wish: LockWish,
        give_up: impl Future<Output = ()>,
    ) -> Result<LockEnd, ClientError> {
        let mut give_up = pin!(give_up);
        let mut wait = self.lock_waits.begin();
        let mut leaders = self.lead.leaders();
        loop {
            leaders.mark_unchanged();
            let (state, session) = self.ask_for(wish.request(Some(wait.ticket))).await?;
            match state {
                LockState::Granted => return Ok(LockEnd::Granted(session)),
                LockState::Deadlock => return Ok(LockEnd::Deadlock),
                LockState::Conflict => return Ok(LockEnd::Conflict),
                LockState::Waiting => {}
            }
            let era = self.era();
            tokio::select! {
                biased;
                granted = wait.told(session) => {
                    // A mirror is asked for what the lock's own answer has seen.
                    if granted && self.options.mirror.is_none() {
                        return Ok(LockEnd::Granted(session));
                    }
                    wait.forget();
                }
                () = self.closing.cancelled() => return Err(Failure::Closed.into()),
                () = &mut give_up => return self.give_up_waiting(wish, wait.ticket).await,
                // Its word may be lost with the leader, and all of it with the session.
                _changed = leaders.changed() => {}
                () = era.over.cancelled() => {}
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    async fn give_up_waiting(&self, wish: LockWish, ticket: u64) -> Result<LockEnd, ClientError> {
        let cancel = Operation::CancelLock {
            kind: wish.kind,
            owner: wish.owner,
            ticket,
        };
        match self.on_locks(cancel).await? {
            (Success::LockCancelled { waited: true }, _) => Ok(LockEnd::Cancelled),
            // It was granted meanwhile, perhaps: then it is had, or can be had.
            (Success::LockCancelled { waited: false }, _) => match self.try_lock(wish).await? {
                LockEnd::Granted(session) => Ok(LockEnd::Granted(session)),
                LockEnd::Conflict | LockEnd::Deadlock | LockEnd::Cancelled => {
                    Ok(LockEnd::Cancelled)
                }
            },
            _ => Err(unexpected()),
        }
    }

    async fn unlock(&self, given: UnlockRequest) -> Result<(), ClientError> {
        match self.on_locks(Operation::Unlock(given)).await? {
            (Success::Unlocked(_), _) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}
