//! The bound on written bytes that wait for their commit.

use super::VfsError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a writer waits before it asks for another round of flushes: data that came in after
/// the last round may be what holds the memory now.
const PRESSURE_AGAIN: Duration = Duration::from_millis(200);

/// Memory for pending slices, handed out first come, first served.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    slices: Arc<Semaphore>,
    bytes_max: usize,
    slices_max: usize,
}

/// A share of the budget; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share(OwnedSemaphorePermit);

impl Share {
    /// Adds another share to this one.
    pub(super) fn grow(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

impl Budget {
    pub(super) fn new(bytes_max: usize, slices_max: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes_max)),
            slices: Arc::new(Semaphore::new(slices_max)),
            bytes_max,
            slices_max,
        }
    }

    /// Waits for room for `count` bytes. `pressure` starts flushes; it is called when there is no
    /// room at once, and again as long as there is none.
    pub(super) async fn bytes(&self, count: usize, pressure: impl Fn()) -> Result<Share, VfsError> {
        let count = u32::try_from(count.min(self.bytes_max)).unwrap_or(u32::MAX);
        take(&self.bytes, count, pressure).await
    }

    /// Waits for room for one more pending slice.
    pub(super) async fn slice(&self, pressure: impl Fn()) -> Result<Share, VfsError> {
        take(&self.slices, 1, pressure).await
    }

    /// Room for one more pending slice, if there is some now.
    pub(super) fn try_slice(&self) -> Option<Share> {
        Arc::clone(&self.slices).try_acquire_owned().ok().map(Share)
    }

    /// Bytes handed out.
    pub(super) fn bytes_used(&self) -> usize {
        self.bytes_max
            .saturating_sub(self.bytes.available_permits())
    }

    /// Pending slices.
    pub(super) fn slices_used(&self) -> usize {
        self.slices_max
            .saturating_sub(self.slices.available_permits())
    }
}

async fn take(from: &Arc<Semaphore>, count: u32, pressure: impl Fn()) -> Result<Share, VfsError> {
    if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(count) {
        return Ok(Share(permit));
    }
    let waiting = Arc::clone(from).acquire_many_owned(count);
    tokio::pin!(waiting);
    loop {
        pressure();
        match tokio::time::timeout(PRESSURE_AGAIN, &mut waiting).await {
            Ok(permit) => return permit.map(Share).map_err(|_| VfsError::Stopped),
            Err(_elapsed) => {}
        }
    }
}
