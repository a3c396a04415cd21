//! A node's wall clock, which may be wrong.

use meta_server::{Suspended, WallClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// When the simulation begins: some time in 2026.
const BEGIN: Duration = Duration::from_secs(1_780_000_000);

/// The time of the simulation, and how far it is off here.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimClock {
    off_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Puts the clock so far off the right time.
    pub(crate) fn put_off(&self, ms: i64) {
        self.off_ms.store(ms, Ordering::Relaxed);
    }
}

impl WallClock for SimClock {
    fn now(&self) -> Duration {
        let right = BEGIN + turmoil::sim_elapsed().unwrap_or_default();
        let off = self.off_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(off.unsigned_abs());
        if off < 0 { right - by } else { right + by }
    }

    /// All hosts have one monotonic clock here, and none stands still.
    fn suspended(&self) -> Suspended {
        Suspended::default()
    }
}
