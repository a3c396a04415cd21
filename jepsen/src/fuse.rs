//! Whether this machine lets us mount.

use crate::scratch::notice;
use std::fs::File;

/// Why FUSE cannot be used here, if it cannot.
pub fn fuse_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    opened
        .err()
        .map(|error| format!("/dev/fuse cannot be opened: {error}"))
}

/// Says loudly that a test does not run when it cannot mount. Returns whether to skip.
pub fn skip_unless_fuse(test: &str) -> bool {
    match fuse_missing() {
        Some(why) => {
            skip(test, &why);
            true
        }
        None => false,
    }
}

/// Says loudly that a test does not run.
///
/// # Panics
/// Where everything must run: `CURLEW_TEST_ALL` is set there.
pub fn skip(test: &str, why: &str) {
    notice(&format!("SKIPPED: {test}: {why}"));
    assert!(
        std::env::var_os("CURLEW_TEST_ALL").is_none(),
        "{test} must run here, and cannot: {why}"
    );
}
