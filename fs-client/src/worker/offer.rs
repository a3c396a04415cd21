//! A mount's offer to do a task, and what follows of it at the engine.

use super::BackupError;
use super::error::ClaimLost;
use crate::vfs::{MetaApi, VfsError};
use meta_core::attr::Caller;
use meta_core::command::Operation;
use meta_core::outcome::{Refusal, Success};
use meta_core::task::{Claim, NewBackup, Task};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often within its lease a session says that it is at it.
const RENEWALS: u32 = 3;

/// The mount's session, as far as one task goes.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    meta: Arc<dyn MetaApi>,
    task: Task,
    interval: Duration,
}

impl Offer {
    pub(super) fn new(meta: Arc<dyn MetaApi>, task: Task, interval: Duration) -> Self {
        Self {
            meta,
            task,
            interval,
        }
    }

    /// Asks for the task, or to have it for longer.
    pub(super) async fn claim(&self) -> Result<Claim, VfsError> {
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let claim = Operation::ClaimTask {
            task: self.task,
            interval_ms: interval_ms.max(1),
        };
        match self.meta.execute(Caller::root(), claim).await? {
            Success::Claimed(claim) => Ok(claim),
            _ => Err(VfsError::Unexpected("a claim")),
        }
    }

    /// Gives the task back, so that another mount can have it at once.
    pub(super) async fn release(&self) -> Result<(), VfsError> {
        let task = self.task;
        let release = Operation::ReleaseTask { task };
        self.meta.execute(Caller::root(), release).await.map(drop)
    }

    /// Tells that the backup was made.
    pub(super) async fn finish(&self, made: NewBackup) -> Result<(), BackupError> {
        let finish = Operation::FinishBackup(made);
        match self.meta.execute(Caller::root(), finish).await {
            Ok(_) => Ok(()),
            Err(VfsError::Refused(Refusal::ClaimLost)) => Err(BackupError::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Does work while the session has the task, and says so meanwhile. The work stops when the engine
    /// says that it has the task no more.
    pub(super) async fn hold<T>(
        &self,
        lease: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, ClaimLost> {
        let done = CancellationToken::new();
        let mut renewing = std::pin::pin!(self.renew(lease / RENEWALS, &done));
        let mut work = std::pin::pin!(work);
        tokio::select! {
            made = &mut work => {
                done.cancel();
                // One that is on its way must not come after what follows.
                let _had_or_lost = renewing.await;
                Ok(made)
            }
            () = &mut renewing => Err(ClaimLost),
        }
    }

    /// Returns when the task is not the session's any more, or when the work is done.
    async fn renew(&self, pause: Duration, done: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = done.cancelled() => return,
            }
            match self.claim().await {
                Ok(Claim::Given { .. }) => {}
                Ok(Claim::Held { .. } | Claim::NotDue { .. }) => return,
                // Whether it still has it is told at the end at the latest.
                Err(error) => tracing::debug!(%error, "a task was not prolonged"),
            }
        }
    }
}
