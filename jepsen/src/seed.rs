//! Randomness that can be had again.

use crate::scratch::notice;
use anyhow::{Context, Result};

/// The seed in `CURLEW_SEED`, else a random one; printed in both cases.
///
/// # Errors
/// When the variable is no number.
pub fn seed(test: &str) -> Result<u64> {
    let seed = match std::env::var("CURLEW_SEED") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("CURLEW_SEED={text} is no number"))?,
        Err(_) => rand::random(),
    };
    notice(&format!("{test}: CURLEW_SEED={seed}"));
    Ok(seed)
}
