//! The instant at which a call stops trying.

use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// An instant, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// From now, or never.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// The earlier of this and `limit` from now.
    pub(crate) fn within(self, limit: Duration) -> Self {
        let capped = Self::after(Some(limit));
        Self(match (self.0, capped.0) {
            (Some(own), Some(cap)) => Some(own.min(cap)),
            (own, cap) => own.or(cap),
        })
    }

    /// Waits for `work`; `None` if the deadline comes first.
    pub(crate) async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            None => Some(work.await),
            Some(at) => tokio::time::timeout_at(at, work).await.ok(),
        }
    }
}
