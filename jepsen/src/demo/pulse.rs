//! Counts operations, and the longest time in which none completed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Errors that are kept for the report.
const ERRORS_KEPT: usize = 10;

/// Shared by all threads that do operations.
#[derive(Debug)]
pub(super) struct Pulse {
    begin: Instant,
    last_ns: AtomicU64,
    longest_ns: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    errors: Mutex<Vec<String>>,
}

impl Pulse {
    /// Begins to count, and to measure.
    pub(super) fn begin() -> Self {
        Self {
            begin: Instant::now(),
            last_ns: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            errors: Mutex::new(Vec::new()),
        }
    }

    /// An operation completed. Hands its result on, as an option.
    pub(super) fn count<T>(
        &self,
        what: impl FnOnce() -> String,
        result: std::io::Result<T>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.beat();
                Some(value)
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                if errors.len() < ERRORS_KEPT {
                    errors.push(format!("{}: {error}", what()));
                }
                None
            }
        }
    }

    fn beat(&self) {
        let now = u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let before = self.last_ns.fetch_max(now, Ordering::Relaxed);
        self.longest_ns
            .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations that completed.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Operations that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The first errors, as text.
    pub(super) fn errors(&self) -> Vec<String> {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The longest time between two completed operations so far.
    pub(super) fn longest_gap(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }
}
