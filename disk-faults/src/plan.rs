//! What is to fail, and what was passed.

use std::collections::HashSet;
use std::env;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The kinds of calls.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Makes a file or a directory durable.
    Sync,
    /// Writes into a file.
    Write,
    /// Gives a file another name; its site is the new one.
    Rename,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Rename => "rename",
        }
    }
}

struct Plan {
    root: PathBuf,
    trace: Option<CString>,
    fault: Option<Fault>,
    seen: Mutex<HashSet<String>>,
}

struct Fault {
    site: String,
    left: AtomicU64,
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

fn plan() -> Option<&'static Plan> {
    PLAN.get_or_init(read_plan).as_ref()
}

fn read_plan() -> Option<Plan> {
    let root = env::var_os("CURLEW_DISK_ROOT").map(PathBuf::from)?;
    let trace = env::var_os("CURLEW_DISK_TRACE");
    let trace = trace.and_then(|path| CString::new(path.as_bytes()).ok());
    let fault = env::var("CURLEW_DISK_FAULT").ok().and_then(|text| {
        let (count, site) = text.split_once(' ')?;
        Some(Fault {
            site: site.to_owned(),
            left: AtomicU64::new(count.parse().ok()?),
        })
    });
    Some(Plan {
        root,
        trace,
        fault,
        seen: Mutex::default(),
    })
}

/// Whether a call on an open file is to fail.
pub(crate) fn fails(call: Call, fd: i32) -> bool {
    let Some(plan) = plan() else { return false };
    let path = fs::read_link(format!("/proc/self/fd/{fd}"));
    path.is_ok_and(|path| plan.fails(call, &path))
}

/// Whether a call on a path is to fail.
pub(crate) fn fails_at(call: Call, path: &CStr) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    plan().is_some_and(|plan| plan.fails(call, path))
}

impl Plan {
    fn fails(&self, call: Call, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else {
            return false;
        };
        let site = format!("{} {}", call.name(), without_numbers(below));
        if let Some(trace) = &self.trace {
            self.trace(trace, &site);
        }
        if matches!(call, Call::Sync) && super::control::sync(&site) {
            super::calls::say(&format!("disk fault: {site}\n"));
            return true;
        }
        let Some(fault) = &self.fault else {
            return false;
        };
        let now = fault.site == site && fault.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if now {
            super::calls::say(&format!("disk fault: {site}\n"));
        }
        now
    }

    fn trace(&self, file: &CStr, site: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(site.to_owned()) {
            super::calls::append(file, &format!("{site}\n"));
        }
    }
}

/// The path with each number as `#`, and zero as `0`: RocksDB calls different things so. `.` is the
/// root itself.
fn without_numbers(path: &Path) -> String {
    let mut text = String::new();
    for letter in path.to_string_lossy().chars() {
        let last = text.chars().last();
        match (letter, last) {
            ('0'..='9', Some('#')) | ('0', Some('0')) => {}
            ('1'..='9', Some('0')) => {
                text.pop();
                text.push('#');
            }
            ('0', _) => text.push('0'),
            ('1'..='9', _) => text.push('#'),
            (other, _) => text.push(other),
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}
