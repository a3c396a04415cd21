//! What files contain, which somebody else shows for longer than attributes: until it is told of a change,
//! or that nothing tells any more.

use super::{Forgotten, LeaseCache, State};
use meta_core::ids::Ino;
use parking_lot::MutexGuard;
use tokio::time::Instant;

impl LeaseCache {
    /// Another session: nothing of the last one counts.
    pub(crate) fn begin_anew(&self) {
        let mut state = self.state.lock();
        state.clear();
        self.tell_lapsed(state);
    }

    /// Ends leases of which the time is over.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        if !state.files.is_empty() && !state.is_alive(Instant::now()) {
            state.clear();
        }
        self.tell_lapsed(state);
    }

    /// Has what files contain be forgotten, if leases on them ended without a recall.
    pub(super) fn tell_lapsed(&self, mut state: MutexGuard<'_, State>) {
        let lapsed = std::mem::take(&mut state.lapsed);
        drop(state);
        if lapsed && let Some(forgets) = self.forgets.read().clone() {
            tokio::spawn(async move { forgets.forget_contents().await });
        }
    }

    /// Whether there is a lease on a file, so that a change by somebody else is told.
    pub(crate) fn holds(&self, ino: Ino) -> bool {
        let state = self.state.lock();
        state.is_alive(Instant::now()) && state.files.contains_key(&ino)
    }
}

/// Adds files of which the attributes, and what they contain, have to be forgotten.
pub(super) fn add(forgotten: &mut Vec<Forgotten>, changed: &[Ino]) {
    for ino in changed {
        match forgotten.iter_mut().find(|known| known.ino == *ino) {
            Some(known) => known.attr = true,
            None => forgotten.push(Forgotten {
                ino: *ino,
                attr: true,
                names: Vec::new(),
            }),
        }
    }
}
