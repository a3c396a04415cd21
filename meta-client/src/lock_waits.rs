//! Requests for locks that wait, and what the cluster says of them by itself.

use meta_core::ids::SessionId;
use parking_lot::Mutex;
use proto::v1;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What the cluster said last of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// The session that it was made in.
    pub(crate) session: SessionId,
    /// Whether the lock is given. Otherwise the request has to be made again.
    pub(crate) granted: bool,
}

/// The requests of a client that wait.
#[derive(Debug, Default)]
pub(crate) struct LockWaits {
    last_ticket: AtomicU64,
    waiting: Mutex<HashMap<u64, watch::Sender<Option<Told>>>>,
}

impl LockWaits {
    /// A number for a request, unlike any other of this client.
    pub(crate) fn begin(self: &Arc<Self>) -> LockWait {
        let ticket = self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, told) = watch::channel(None);
        self.waiting.lock().insert(ticket, sender);
        LockWait {
            all: Arc::clone(self),
            ticket,
            told,
        }
    }

    /// The cluster says that requests wait no more. Who is not there any more does not matter.
    pub(crate) fn woken(&self, message: v1::LocksWoken) {
        let waiting = self.waiting.lock();
        for woken in message.woken {
            if let Some(sender) = waiting.get(&woken.ticket) {
                sender.send_replace(Some(Told {
                    session: SessionId(woken.session),
                    granted: woken.granted,
                }));
            }
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct LockWait {
    all: Arc<LockWaits>,
    pub(crate) ticket: u64,
    told: watch::Receiver<Option<Told>>,
}

impl LockWait {
    /// Waits until the cluster has said something of the request in this session.
    pub(crate) async fn told(&mut self, session: SessionId) -> bool {
        let of_session = |told: &Option<Told>| told.is_some_and(|told| told.session == session);
        match self.told.wait_for(of_session).await {
            Ok(told) => told.is_some_and(|told| told.granted),
            // The sender lives as long as this.
            Err(_closed) => false,
        }
    }

    /// Forgets what was said before the request is made again.
    pub(crate) fn forget(&mut self) {
        if let Some(sender) = self.all.waiting.lock().get(&self.ticket) {
            sender.send_replace(None);
        }
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        self.all.waiting.lock().remove(&self.ticket);
    }
}
