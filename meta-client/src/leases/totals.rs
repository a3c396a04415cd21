//! The volume's totals, as the leader tells them with each renewal of the leases.
//!
//! Nobody is asked before a total changes: what other clients did since the last renewal is not in them.
//! What this client did is, as nothing is answered from here since its own last change.

use meta_core::query::VolumeStat;
use proto::limits::LEASE_TTL;
use tokio::time::Instant;

/// Which of this client's changes were over when a question was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    at: Instant,
    changes: u64,
}

impl Asked {
    /// Before the question was sent.
    pub(super) fn at(self) -> Instant {
        self.at
    }
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Changes of this client's own under way.
    busy: u32,
    /// Those that are over.
    changes: u64,
    known: Option<(Instant, VolumeStat)>,
}

impl Totals {
    /// A change of this client's own begins.
    pub(super) fn change_begins(&mut self) {
        self.busy += 1;
        self.known = None;
    }

    /// It ended.
    pub(super) fn change_ends(&mut self) {
        self.busy -= 1;
        self.changes += 1;
    }

    pub(super) fn ask(&self, now: Instant) -> Asked {
        Asked {
            at: now,
            changes: self.changes,
        }
    }

    /// Takes in an answer.
    pub(super) fn learn(&mut self, asked: Asked, totals: VolumeStat) {
        if self.busy == 0 && self.changes == asked.changes {
            self.known = Some((asked.at, totals));
        }
    }

    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The totals, not older than a lease may live.
    pub(super) fn answer(&self, now: Instant) -> Option<VolumeStat> {
        let (at, totals) = self.known.as_ref()?;
        (now.saturating_duration_since(*at) < LEASE_TTL).then(|| totals.clone())
    }
}
