//! A page of numbers that a running program's calls look at, and that somebody else writes.

use std::env;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes of the file: three numbers in the machine's order.
const BYTES: usize = 24;
/// The longest that a sync is held up.
const DELAY_US_MAX: u64 = 10_000_000;

/// The file's numbers, in this order.
#[repr(C)]
struct Page {
    /// Microseconds that each sync takes longer.
    delay_us: AtomicU64,
    /// Syncs of a log that fail from now on.
    failures: AtomicU64,
    /// Calls that were held up or failed so far.
    hits: AtomicU64,
}

static PAGE: OnceLock<Option<&'static Page>> = OnceLock::new();

/// Holds up a sync, if it is to be slow. Says whether it is to fail.
pub(crate) fn sync(site: &str) -> bool {
    let Some(page) = PAGE.get_or_init(map) else {
        return false;
    };
    let delay_us = page.delay_us.load(Ordering::Relaxed).min(DELAY_US_MAX);
    if delay_us > 0 {
        page.hits.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_micros(delay_us));
    }
    let fails = is_of_the_log(site)
        && page
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok();
    if fails {
        page.hits.fetch_add(1, Ordering::Relaxed);
    }
    fails
}

/// Whether a sync is one of what a node writes its log into: files, or in earlier builds RocksDB's.
fn is_of_the_log(site: &str) -> bool {
    let name = site.strip_prefix("sync log/");
    name.is_some_and(|name| name == "slot-#" || name.ends_with(".log"))
}

/// The file that `CURLEW_DISK_CONTROL` names, as a page that is shared with whoever writes it.
fn map() -> Option<&'static Page> {
    let path = env::var_os("CURLEW_DISK_CONTROL")?;
    let file = File::options().read(true).write(true).open(path).ok()?;
    if file.metadata().ok()?.len() < BYTES as u64 {
        return None;
    }
    let (rights, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: the file is as long as what is mapped of it, and stays mapped for the life of the
    // process.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            BYTES,
            rights,
            shared,
            file.as_raw_fd(),
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: it is there for the life of the process, long enough, as well aligned as any page, and
    // only ever looked at by atomic numbers, for which all bytes are right.
    Some(unsafe { &*page.cast::<Page>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_syncs_of_the_log_fail() {
        assert!(is_of_the_log("sync log/slot-#"));
        assert!(is_of_the_log("sync log/#.log"));
        for other in [
            "sync log",
            "sync log.hint",
            "write log/slot-#",
            "sync state/gen-#/#.sst",
        ] {
            assert!(!is_of_the_log(other), "{other}");
        }
    }
}
