//! Running asynchronous work from a command. One thread is enough for what a command waits for; a
//! mount brings its own runtime.

use anyhow::{Context, Result};

/// Runs `work` to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}
