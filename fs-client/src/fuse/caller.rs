//! Who sends a request: the kernel tells user, group and process; the supplementary groups are
//! read from the process and kept briefly. Whoever is taken for somebody else is that one.

use super::squash::{Ids, Squash};
use fuser::Request;
use meta_core::attr::Caller;
use meta_core::limits::GROUPS_MAX;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a process's groups are taken for unchanged. The kernel checks every access itself
/// with the groups as they are, so that this cannot give a process more than it has.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// Processes remembered.
const PROCESSES_MAX: usize = 1024;

#[derive(PartialEq, Eq, Hash, Debug)]
struct Process {
    pid: u32,
    /// Tells apart processes that had the same number one after the other.
    started: u64,
    uid: u32,
    gid: u32,
}

/// The groups of processes that asked lately.
#[derive(Debug)]
pub(super) struct Callers {
    squash: Squash,
    known: Mutex<HashMap<Process, (Instant, Vec<u32>)>>,
}

impl Callers {
    pub(super) fn new(squash: Squash) -> Self {
        Self {
            squash,
            known: Mutex::default(),
        }
    }

    /// The sender of a request with all groups.
    pub(super) fn of(&self, request: &Request) -> Caller {
        let caller = self.plain(request);
        // Nothing that the groups could add to is asked of the superuser; pid 0 is a process of
        // another pid namespace. The groups of whoever is taken for another user are not that one's.
        if caller.is_root() || request.pid() == 0 || self.is_squashed(request) {
            return caller;
        }
        let groups = self.groups(request).unwrap_or_default();
        Caller { groups, ..caller }
    }

    /// The sender without supplementary groups: for requests on open handles, which nothing checks.
    pub(super) fn plain(&self, request: &Request) -> Caller {
        let (uid, gid) = (request.uid(), request.gid());
        let Ids { uid, gid } = self.squash.of(uid).unwrap_or(Ids { uid, gid });
        Caller {
            uid,
            gid,
            groups: Vec::new(),
        }
    }

    /// Whether the sender is taken for somebody else.
    pub(super) fn is_squashed(&self, request: &Request) -> bool {
        self.squash.of(request.uid()).is_some()
    }

    fn groups(&self, request: &Request) -> Option<Vec<u32>> {
        let pid = request.pid();
        let process = Process {
            pid,
            started: started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
            uid: request.uid(),
            gid: request.gid(),
        };
        let now = Instant::now();
        if let Some((read, groups)) = self.known.lock().get(&process)
            && now.saturating_duration_since(*read) < KEPT_FOR
        {
            return Some(groups.clone());
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let groups = groups(&status)?;
        let mut known = self.known.lock();
        if known.len() >= PROCESSES_MAX {
            known.retain(|_, (read, _)| now.saturating_duration_since(*read) < KEPT_FOR);
        }
        if known.len() < PROCESSES_MAX {
            known.insert(process, (now, groups.clone()));
        }
        Some(groups)
    }
}

/// When the process started, in clock ticks since boot: field 22. The second field is a name in
/// parentheses that may hold anything.
fn started(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

fn groups(status: &str) -> Option<Vec<u32>> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))?;
    let groups = line.split_whitespace().take(GROUPS_MAX);
    groups.map(|group| group.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(started(stat), Some(987_654));
        assert_eq!(
            groups("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"),
            Some(vec![4, 24, 1000])
        );
        assert_eq!(groups("Groups:\t\n"), Some(vec![]));
        assert_eq!(groups("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let read = |what| std::fs::read_to_string(format!("/proc/{pid}/{what}")).expect("procfs");
        assert!(started(&read("stat")).is_some());
        assert!(groups(&read("status")).is_some());
    }
}
