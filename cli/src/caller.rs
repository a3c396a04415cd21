//! Who runs a command.

use meta_core::attr::Caller;

/// On whose behalf the cluster is asked: a command does and tells no more than its user may.
pub(crate) fn caller() -> Caller {
    // More groups than the kernel tells cannot be; without them the caller may do less.
    let groups = rustix::process::getgroups().unwrap_or_default();
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: groups
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect(),
    }
}
