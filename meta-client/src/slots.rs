//! The request slots of one session.
//!
//! A slot has one request in flight. The next request in it has the next sequence, and may only be
//! sent when the one before is known to be executed (its reply came) or known to be never executed
//! (then the sequence is used again). A slot of which neither is known stays unused for the rest
//! of its session, because whatever is sent in it could be answered with the reply of the other.

use meta_core::ids::SlotIndex;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All slots of a session.
#[derive(Debug)]
pub(crate) struct Slots {
    count: u32,
    /// Free slots with their next sequence; the last one is used first.
    free: Mutex<Vec<(SlotIndex, u64)>>,
    permits: Arc<Semaphore>,
    abandoned: Mutex<u32>,
    /// Told whenever a slot is given back or given up.
    ended: Notify,
}

/// A slot in use. Dropped without a word about its request, it is in doubt and abandoned.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
    pub(crate) index: SlotIndex,
    pub(crate) sequence: u64,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Arc<Self> {
        let free = (0..count)
            .rev()
            .map(|index| (SlotIndex(index), 1))
            .collect();
        let permits = Arc::new(Semaphore::new(count as usize));
        let (abandoned, ended) = (Mutex::new(0), Notify::new());
        Arc::new(Self {
            count,
            free: Mutex::new(free),
            permits,
            abandoned,
            ended,
        })
    }

    /// Waits for a free slot; `None` once the slots are closed.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let (index, sequence) = self.free.lock().pop()?;
        Some(Slot {
            slots: Arc::clone(self),
            permit: Some(permit),
            index,
            sequence,
        })
    }

    /// Nobody gets a slot any more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    /// Whether so many slots are in doubt that a new session is better.
    pub(crate) fn is_worn_out(&self) -> bool {
        *self.abandoned.lock() * 2 >= self.count
    }

    /// Waits until no slot is in use, those in doubt not counted.
    pub(crate) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Before looking, so that no end in between is missed.
            ended.as_mut().enable();
            if self.in_use() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Slots in use, those in doubt not counted.
    pub(crate) fn in_use(&self) -> u32 {
        let free = u32::try_from(self.free.lock().len()).unwrap_or(u32::MAX);
        self.count
            .saturating_sub(free)
            .saturating_sub(*self.abandoned.lock())
    }
}

impl Slot {
    /// The reply came: the sequence is used.
    pub(crate) fn answered(mut self) {
        self.sequence += 1;
        self.give_back();
    }

    /// The request was never executed and never will be: the sequence is still to be used.
    pub(crate) fn unused(self) {
        self.give_back();
    }

    fn give_back(mut self) {
        self.slots.free.lock().push((self.index, self.sequence));
        // Only now may somebody else look for it.
        drop(self.permit.take());
        self.slots.ended.notify_waiters();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.forget();
            *self.slots.abandoned.lock() += 1;
            self.slots.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_goes_on_with_its_next_sequence() {
        let slots = Slots::new(1);
        let slot = slots.take().await.expect("free");
        assert_eq!((slot.index, slot.sequence), (SlotIndex(0), 1));
        slot.answered();
        let slot = slots.take().await.expect("free");
        assert_eq!(slot.sequence, 2);
        slot.unused();
        assert_eq!(slots.take().await.expect("free").sequence, 2);
    }

    #[tokio::test]
    async fn a_slot_in_doubt_is_never_used_again() {
        let slots = Slots::new(2);
        let doubtful = slots.take().await.expect("free");
        let index = doubtful.index;
        drop(doubtful);
        assert!(slots.is_worn_out());
        let other = slots.take().await.expect("free");
        assert_ne!(other.index, index);
        assert_eq!(slots.in_use(), 1);
        other.answered();
        assert_eq!(slots.in_use(), 0);
        assert_eq!(slots.take().await.expect("free").sequence, 2);
    }

    #[tokio::test]
    async fn closed_slots_are_not_waited_for() {
        let slots = Slots::new(1);
        let held = slots.take().await.expect("free");
        slots.close();
        assert!(slots.take().await.is_none());
        held.answered();
        assert!(slots.take().await.is_none());
    }
}
