//! All randomness of the process, from one seed.
//!
//! Hash tables, tokio's `select!`, openraft's election timeouts and the jitter of retries all ask
//! the system for random bytes in the end, by `getrandom`. This program has its own, so that a
//! run repeats. A process does one run: some libraries keep counters for the whole process.
#![expect(
    unsafe_code,
    reason = "the function that the system's library would have is called by its C interface"
)]

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Begins anew from a seed. To be called before anything else.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

/// SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
fn next() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = STATE.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills a buffer, in place of the function of the same name in the system's library.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length > 0 {
        // SAFETY: the caller promises so. Bytes need no alignment and may hold anything before.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        for piece in bytes.chunks_mut(8) {
            let random = next().to_le_bytes();
            piece.copy_from_slice(&random[..piece.len()]);
        }
    }
    length.cast_signed()
}
