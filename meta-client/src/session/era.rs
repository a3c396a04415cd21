//! One session as the cluster knows it, with its slots.

use crate::slots::Slots;
use meta_core::ids::SessionId;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// From the opening of a session to its loss.
#[derive(Debug)]
pub(super) struct Era {
    pub(super) id: SessionId,
    pub(super) slots: Arc<Slots>,
    /// The cluster does not know the session any more, or it is worn out.
    pub(super) over: CancellationToken,
}

impl Era {
    pub(super) fn new(id: SessionId, slots: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            slots: Slots::new(slots),
            over: CancellationToken::new(),
        })
    }

    /// Ends it: nobody gets a slot any more.
    pub(super) fn end(&self, why: &str) {
        if !self.over.is_cancelled() {
            tracing::warn!(session = self.id.0, why, "the session is given up");
        }
        self.slots.close();
        self.over.cancel();
    }
}
