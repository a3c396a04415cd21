//! Work of which there is very much, such as the names of a large directory, done fast: many requests
//! at once.

use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Does something with each item, `at_once` of them at a time, and ends with the first error. However
/// many items there are, only those at work are in memory.
///
/// # Errors
/// As the work.
pub async fn each<T, F>(
    items: impl Iterator<Item = T> + Send + 'static,
    at_once: usize,
    act: impl Fn(T) -> F + Send + Sync + 'static,
) -> Result<()>
where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (items, act) = (Arc::new(Mutex::new(items)), Arc::new(act));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (items, act) = (Arc::clone(&items), Arc::clone(&act));
        workers.spawn(async move {
            loop {
                let item = items.lock().await.next();
                match item {
                    Some(item) => act(item).await?,
                    None => return Ok::<_, anyhow::Error>(()),
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")??;
    }
    Ok(())
}
