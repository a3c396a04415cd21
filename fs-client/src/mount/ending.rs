//! The end of a mount: by an unmount from outside or a signal, then the last flush.

use super::umount::UmountMode;
use super::{MountError, Serving, Signals};
use crate::vfs::VfsError;
use std::io;
use std::time::Duration;

/// How long taking away a mount may take whose data is given up.
const ABANDON_WITHIN: Duration = Duration::from_secs(1);

impl Serving {
    /// Serves until the mount is unmounted, or a signal asks and it unmounts itself; then flushes
    /// everything. A second signal gives up what is not stored then.
    ///
    /// # Errors
    /// If written data could not be stored, or serving failed.
    pub async fn serve(&self, mut signals: Signals) -> Result<(), MountError> {
        let served = tokio::select! {
            served = self.ended() => served,
            told = signals.asked() => {
                tracing::info!(signal = %told, path = %self.path().display(), "unmounting");
                tokio::select! {
                    left = self.leave() => left,
                    _ = signals.insisted() => return self.abandon().await,
                }
            }
        };
        let flushed = tokio::select! {
            flushed = self.vfs.shutdown() => flushed.map_err(MountError::Unflushed),
            _ = signals.insisted() => return self.abandon().await,
        };
        flushed.and(served)
    }

    /// Unmounts, lazily if files are open there. Returns at the latest when the grace is over: a
    /// mount that was detached before, or has copies in other namespaces, may be used for ever.
    async fn leave(&self) -> Result<(), MountError> {
        if let Err(error) = self.detach(UmountMode::Clean).await {
            tracing::warn!(
                %error,
                "detached from the tree all the same; files still open there fail when this \
                 process ends"
            );
            self.detach(UmountMode::Lazy).await?;
        }
        match tokio::time::timeout(self.busy_grace, self.ended()).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                tracing::warn!("the mount is still in use; its process ends all the same");
                Ok(())
            }
        }
    }

    /// Ends without waiting for anything, and says what that costs.
    async fn abandon(&self) -> Result<(), MountError> {
        let stored = self.vfs.stored();
        let detached = self.detach(UmountMode::Force);
        match tokio::time::timeout(ABANDON_WITHIN, detached).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a dead mount is left behind"),
            Err(_elapsed) => tracing::error!("a dead mount may be left behind"),
        }
        stored.map_err(|error| match error {
            VfsError::Unstored(bytes) => MountError::Abandoned(bytes),
            error => MountError::Unflushed(error),
        })
    }

    /// [`Self::unmount`] in a thread of its own: it blocks, as long as fusermount3 does, and
    /// signals are to be heard meanwhile.
    pub(super) async fn detach(&self, mode: UmountMode) -> Result<(), MountError> {
        if self.ended.borrow().is_some() {
            return Ok(());
        }
        let place = self.place.clone();
        let detached = tokio::task::spawn_blocking(move || place.detach(mode));
        let cut_short = |error| MountError::Runtime(io::Error::other(error));
        detached.await.map_err(cut_short)?
    }
}
