//! Bounded waiting on a state, so that nothing here sleeps and hopes.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How long between two looks at the awaited state.
const STEP: Duration = Duration::from_millis(20);

/// Looks again and again until `probe` gives a value.
///
/// `probe` answers `Ok(Err(why))` while the state is not reached; the last `why` is part of the
/// error when `within` is over. An `Err` of the probe itself ends the wait at once.
///
/// # Errors
/// When `within` is over, or the probe fails.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        let why = match probe().await? {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        if begin.elapsed() >= within {
            bail!(
                "waited {:.1} s for {what}: {why}",
                begin.elapsed().as_secs_f64()
            );
        }
        tokio::time::sleep(STEP).await;
    }
}

/// The same, for a thread outside the runtime.
///
/// # Errors
/// When `within` is over, or the probe fails.
pub fn until_blocking<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        let why = match probe()? {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        if begin.elapsed() >= within {
            bail!(
                "waited {:.1} s for {what}: {why}",
                begin.elapsed().as_secs_f64()
            );
        }
        std::thread::sleep(STEP);
    }
}
