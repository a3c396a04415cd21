//! Waiting on state, always with an end.

use std::time::Duration;
use tokio::time::Instant;

/// How often state that nobody reports is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value; `None` after `limit`. Always looks at least once.
pub(crate) async fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// [`until`] for a look that asks somebody.
pub(crate) async fn until_answered<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look().await {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs blocking work that may never end (a mount whose server hangs) in a thread of its own.
/// `None` after `limit`: the thread is then left behind, and ends with the process.
pub(crate) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let spawned = std::thread::Builder::new()
        .name("bounded".into())
        .spawn(move || {
            // Nobody listens any more once the limit has passed.
            let _late = sender.send(work());
        });
    spawned.ok()?;
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_is_given_up() {
        let (keep, wait) = std::sync::mpsc::channel::<()>();
        let hung = bounded(Duration::from_millis(20), move || wait.recv().is_ok());
        assert_eq!(hung, None);
        drop(keep);
        assert_eq!(bounded(Duration::from_secs(10), || 7), Some(7));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_value_or_the_limit() {
        let mut looks = 0;
        let second = until(Duration::from_secs(30), || {
            looks += 1;
            (looks == 2).then_some(looks)
        })
        .await;
        assert_eq!(second, Some(2));
        assert_eq!(until(Duration::ZERO, || None::<u8>).await, None);
        assert_eq!(
            until_answered(Duration::ZERO, async || Some(3)).await,
            Some(3)
        );
    }
}
