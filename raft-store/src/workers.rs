//! Who does the work that waits for a disk.

use crate::error::StoreError;
use std::future::Future;
use std::thread::{self, JoinHandle};
use tokio::runtime::{self, Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Who runs a store's two loops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workers {
    /// A thread each, which may block.
    Threads,
    /// Tasks of the current runtime, for a disk that never blocks.
    Tasks,
}

impl Workers {
    /// Starts a loop. Gives the thread, if there is one.
    pub(crate) fn spawn(
        self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Option<JoinHandle<()>>, StoreError> {
        if self == Self::Tasks {
            tokio::spawn(work);
            return Ok(None);
        }
        let refused = |error| StoreError::Refused(format!("no thread {name}: {error}"));
        let own = runtime::Builder::new_current_thread().enable_time().build();
        let own = own.map_err(refused)?;
        let thread = thread::Builder::new().name(String::from(name));
        let thread = thread.spawn(move || own.block_on(work)).map_err(refused)?;
        Ok(Some(thread))
    }
}

/// Runs work that blocks beside a runtime's own threads. A runtime of one thread, as in a
/// simulation, has none to keep free: there it runs at once, and always in the same order.
///
/// # Errors
/// If the work panics or the runtime ends.
pub async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
