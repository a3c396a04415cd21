//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections at once, where the system allows as many.
const CONNECTIONS_MAX: u64 = 16_384;
/// What the node itself opens: tables of two databases, snapshots, connections to peers.
const OWN: u64 = 2_048;

/// Lets the process open as many files as it may: what it is started with is often too few for its
/// clients. Where that is not allowed, fewer connections are let in.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// How many connections may be open at once.
pub(crate) fn connections_max() -> usize {
    allowed(getrlimit(Resource::Nofile).current)
}

/// `None` is without a limit.
fn allowed(files: Option<u64>) -> usize {
    let left = files.map_or(CONNECTIONS_MAX, |files| files.saturating_sub(OWN));
    // With very few the node still serves some.
    let some = files.unwrap_or(CONNECTIONS_MAX) / 4;
    let connections = left.max(some).min(CONNECTIONS_MAX);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_keeps_files_for_itself() {
        assert_eq!(allowed(None), 16_384);
        assert_eq!(allowed(Some(1 << 20)), 16_384);
        assert_eq!(allowed(Some(4_096)), 2_048);
        assert_eq!(allowed(Some(1_024)), 256);
    }
}
