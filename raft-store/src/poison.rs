//! The mark that a store must not be used any more.

use crate::error::StoreError;
use std::sync::Arc;
use tokio::sync::watch;

/// Set by the first failed write or fsync, or by damage: from then on the store refuses
/// everything, and the node must exit with a failure. A failed fsync is never tried again,
/// because the kernel may have dropped the pages and would report success.
#[derive(Clone, Debug)]
pub struct Poison {
    reason: Arc<watch::Sender<Option<String>>>,
}

impl Default for Poison {
    fn default() -> Self {
        Self {
            reason: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Poison {
    /// Stops the store. Only the first reason is kept.
    pub fn set(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.reason.send_if_modified(|kept| {
            if kept.is_some() {
                return false;
            }
            tracing::error!(%reason, "the store is poisoned: this node must stop");
            *kept = Some(reason);
            true
        });
    }

    /// Why the store stopped, if it did.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Waits until the store stops, and says why.
    pub async fn wait(&self) -> String {
        let mut changes = self.reason.subscribe();
        // The sender lives in self, so the channel cannot close while this waits.
        match changes.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_closed) => String::from("the store is gone"),
        }
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.reason.borrow() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Poisoned(reason.clone())),
        }
    }

    /// Passes a result on; a failure in it stops the store.
    pub(crate) fn guard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.set(error.to_string());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_wakes_who_waits() {
        let poison = Poison::default();
        assert!(poison.check().is_ok());
        let waiting = tokio::spawn({
            let poison = poison.clone();
            async move { poison.wait().await }
        });
        poison.set("first");
        poison.set("second");
        assert_eq!(waiting.await.unwrap(), "first");
        assert_eq!(poison.reason().unwrap(), "first");
        assert!(matches!(poison.check(), Err(StoreError::Poisoned(_))));
    }
}
