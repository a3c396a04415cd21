//! What a cluster decided: every entry that any of its nodes applied.
//!
//! Entries are checked as they come in: that all nodes apply the same, in order and without a
//! gap, that one and the same command gives the same reply everywhere, and that most of the voters
//! would have the entry after a power failure.

use crate::history::hash;
use meta_core::command::Command;
use meta_core::outcome::Reply;
use parking_lot::Mutex;
use raft_store::simulated::{Observe, Observed, SimDisk};
use raft_store::{LogId, Membership, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an entry held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Blank,
    Membership(Membership),
    Command(Box<(Command, Reply)>),
}

impl What {
    fn of(observed: Observed<'_>) -> Self {
        match observed {
            Observed::Blank => Self::Blank,
            Observed::Membership(members) => Self::Membership(members.clone()),
            Observed::Command(command, reply) => {
                Self::Command(Box::new((command.clone(), reply.clone())))
            }
        }
    }
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decided {
    pub(crate) id: LogId,
    pub(crate) what: What,
}

/// All that one cluster decided. Clones are the same ledger.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    decided: BTreeMap<u64, Decided>,
    /// The voters as of the last two decisions: what decides an entry is one of them.
    voters: [Vec<NodeId>; 2],
    disks: BTreeMap<NodeId, SimDisk>,
    problems: Vec<String>,
    trace: u64,
}

/// Problems kept: the first says it all.
const PROBLEMS_MAX: usize = 8;

impl Inner {
    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }

    fn decide(&mut self, node: NodeId, id: LogId, what: What) {
        if let Some(known) = self.decided.get(&id.index) {
            if known.id != id || known.what != what {
                let known = format!("{known:?}");
                self.problem(format!(
                    "state machine safety: node {node} applies {id}: {what:?}, but decided was {known}"
                ));
            }
            return;
        }
        self.check_durable(node, id);
        if let What::Membership(members) = &what {
            let [_, last] = std::mem::take(&mut self.voters);
            self.voters = [last, members.voter_ids().collect()];
        }
        self.trace = hash(&(self.trace, format!("{id} {what:?}")));
        self.decided.insert(id.index, Decided { id, what });
    }

    /// An entry that is applied anywhere is decided, and so must outlive the loss of any minority.
    fn check_durable(&mut self, node: NodeId, id: LogId) {
        let enough = |voters: &Vec<NodeId>| {
            let holding = voters
                .iter()
                .filter(|voter| self.disks.get(voter).is_some_and(|disk| disk.holds(id)));
            holding.count() * 2 > voters.len()
        };
        let configured: Vec<_> = self.voters.iter().filter(|set| !set.is_empty()).collect();
        if !configured.is_empty() && !configured.into_iter().any(enough) {
            self.problem(format!(
                "durability: node {node} applies {id}, which most voters would lose with the power"
            ));
        }
    }
}

impl Ledger {
    /// Notes the disk of a member.
    pub(crate) fn add_disk(&self, node: NodeId, disk: SimDisk) {
        self.inner.lock().disks.insert(node, disk);
    }

    /// The highest entry that any node applied.
    pub(crate) fn highest(&self) -> u64 {
        let inner = self.inner.lock();
        inner.decided.keys().next_back().copied().unwrap_or(0)
    }

    /// A number that stands for all that was decided, in order.
    pub(crate) fn trace(&self) -> u64 {
        self.inner.lock().trace
    }

    /// What was found to be wrong.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.inner.lock().problems.clone()
    }

    /// All entries by index.
    pub(crate) fn decided(&self) -> BTreeMap<u64, Decided> {
        self.inner.lock().decided.clone()
    }

    /// Whoever tells the ledger what a node's store does, from one start of the node on.
    pub(crate) fn witness(&self, node: NodeId) -> Arc<dyn Observe> {
        Arc::new(Witness {
            node,
            ledger: self.clone(),
            last: Mutex::new(None),
        })
    }
}

struct Witness {
    node: NodeId,
    ledger: Ledger,
    /// The last index that this store applied, once it applied any.
    last: Mutex<Option<u64>>,
}

impl Observe for Witness {
    fn applied(&self, id: LogId, entry: Observed<'_>) {
        let mut last = self.last.lock();
        let mut inner = self.ledger.inner.lock();
        if last.is_some_and(|last| id.index != last + 1) {
            let node = self.node;
            inner.problem(format!("order: node {node} applies {id} behind {last:?}"));
        }
        *last = Some(id.index);
        inner.decide(self.node, id, What::of(entry));
    }

    fn installed(&self, id: Option<LogId>) {
        let mut last = self.last.lock();
        if let (Some(before), Some(id)) = (*last, id)
            && id.index < before
        {
            let node = self.node;
            let what = format!("order: node {node} goes back from {before} to a snapshot at {id}");
            self.ledger.inner.lock().problem(what);
        }
        *last = id.map(|id| id.index);
    }
}
