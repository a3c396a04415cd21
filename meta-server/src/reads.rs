//! Linearizable reads by ReadIndex, one round for all who wait.
//!
//! A round tells up to where the log must be applied for a view to show everything that was answered
//! before the round began. So a round answers exactly those reads that were waiting when it began;
//! later ones wait for the next. The leader's rounds confirm with a majority that it still leads,
//! and wait until it has applied so much: a deposed leader gets no majority, and can never answer
//! from an old state. Under a lease they need not ask the others (`leader_lease.rs`). A follower's
//! rounds ask the leader, which does such a round for it.

use crate::failure::{self, Failure};
use crate::leader_lease::LeaderLease;
use crate::network::Network;
use crate::node::{Raft, members};
use crate::proposer::leading_term;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{LinearizerOption, ReadPolicy};
use prometheus_client::metrics::counter::Counter;
use raft_store::{LogId, StateReader};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Reads that may wait for a round.
const WAITING_MAX: usize = 16_384;

/// Up to where a log must be applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    // First: what was applied of another history, which a recovery cut off, is of an earlier term.
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl Place {
    fn of(id: &LogId) -> Self {
        Self {
            term: id.committed_leader_id().term,
            index: id.index,
        }
    }
}

/// What a round found.
type Waiter = oneshot::Sender<Result<Place, Failure>>;

/// Where reads wait for the next round.
#[derive(Clone)]
pub(crate) struct ReadGate {
    waiting: mpsc::Sender<Waiter>,
}

impl fmt::Debug for ReadGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadGate")
    }
}

impl ReadGate {
    /// Returns once a round that began after the call has ended, with the index that it found.
    pub(crate) async fn index(&self) -> Result<Place, Failure> {
        let (waiter, answer) = oneshot::channel();
        self.waiting.try_send(waiter).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Failure::overloaded("too many reads wait for the leader")
            }
            mpsc::error::TrySendError::Closed(_) => Failure::unavailable("the node is stopping"),
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(Failure::unavailable("the node is stopping")))
    }
}

/// The rounds behind a gate.
struct ReadRounds {
    waiting: mpsc::Receiver<Waiter>,
}

fn gate() -> (ReadGate, ReadRounds) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    (ReadGate { waiting: sender }, ReadRounds { waiting })
}

impl ReadRounds {
    /// Runs rounds until `stop`, each told for how many reads it is.
    async fn run<R>(mut self, stop: CancellationToken, round: impl Fn(usize) -> R)
    where
        R: Future<Output = Result<Place, Failure>>,
    {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                count = self.waiting.recv_many(&mut batch, WAITING_MAX) => count,
                () = stop.cancelled() => return,
            };
            if count == 0 {
                return;
            }
            let found = tokio::select! {
                found = round(count) => found,
                () = stop.cancelled() => Err(Failure::unavailable("the node is stopping")),
            };
            for waiter in batch.drain(..) {
                // A waiter may have left: its client went away.
                let _left = waiter.send(found.clone());
            }
        }
    }
}

/// The ways to a linearizable read of one node.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    leading: ReadGate,
    following: ReadGate,
    reader: StateReader,
    /// How long a follower waits until it has applied what the leader named.
    behind_limit: Duration,
}

/// What the rounds of a node need.
pub(crate) struct ReadParts {
    pub(crate) raft: Raft,
    pub(crate) network: Network,
    pub(crate) reader: StateReader,
    /// A leader's round is given up after so long.
    pub(crate) majority_limit: Duration,
    /// A question to the leader is given up after so long, and so is the wait for what it names.
    pub(crate) follow_limit: Duration,
}

impl Reads {
    /// Starts the rounds in `tasks`, until `stop`.
    pub(crate) fn start(parts: ReadParts, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let ReadParts {
            raft,
            network,
            reader,
            majority_limit,
            follow_limit,
        } = parts;
        let (leading, rounds) = gate();
        let round = Leading {
            raft: raft.clone(),
            lease: Arc::clone(&network.leader_lease),
            lease_reads: network.metrics.lease_reads.clone(),
            read_rounds: network.metrics.read_rounds.clone(),
            limit: majority_limit,
        };
        let confirm = move |reads| round.clone().confirmed(reads);
        tasks.spawn(rounds.run(stop.clone(), confirm));
        let (following, rounds) = gate();
        let ask = move |_reads| {
            network.metrics.follower_rounds.inc();
            told(raft.clone(), network.clone(), follow_limit)
        };
        tasks.spawn(rounds.run(stop.clone(), ask));
        Self {
            leading,
            following,
            reader,
            behind_limit: follow_limit,
        }
    }

    /// For a leader: returns once a view taken now shows everything that was answered before the
    /// call.
    pub(crate) async fn pass(&self) -> Result<(), Failure> {
        self.leading.index().await.map(|_index| ())
    }

    /// For a leader: the index up to which a log must be applied to show that.
    pub(crate) async fn index(&self) -> Result<Place, Failure> {
        self.leading.index().await
    }

    /// For a follower: as [`Self::pass`]. It has a bounded time to hear from the leader, and then
    /// to catch up.
    pub(crate) async fn pass_following(&self) -> Result<(), Failure> {
        let index = self.following.index().await?;
        let mut changes = self.reader.changes();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if self.applied() >= index {
                    return Ok(());
                }
                if changes.changed().await.is_err() {
                    return Err(Failure::unavailable("the node is stopping"));
                }
            }
        };
        let waited = tokio::time::timeout(self.behind_limit, waiting).await;
        waited.unwrap_or_else(|_elapsed| {
            let applied = self.applied();
            Err(Failure::behind(format!(
                "this node has applied {}, and the leader is at {}",
                applied.index, index.index
            )))
        })
    }

    fn applied(&self) -> Place {
        let applied = self.reader.applied();
        applied.as_ref().map(Place::of).unwrap_or_default()
    }
}

/// What a leader's rounds need.
#[derive(Clone)]
struct Leading {
    raft: Raft,
    lease: Arc<LeaderLease>,
    lease_reads: Counter,
    read_rounds: Counter,
    limit: Duration,
}

impl Leading {
    /// A leader's round.
    async fn confirmed(self, reads: usize) -> Result<Place, Failure> {
        let confirming = async {
            if let Some(place) = self.leased().await {
                self.lease_reads
                    .inc_by(u64::try_from(reads).unwrap_or(u64::MAX));
                return Ok(place);
            }
            self.read_rounds.inc();
            let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
            read.map(|read| Place::of(read.log_id()))
                .map_err(failure::of_read)
        };
        let confirmed = tokio::time::timeout(self.limit, confirming).await;
        confirmed.unwrap_or_else(|_elapsed| {
            Err(Failure::unavailable(
                "the leader does not hear from a majority",
            ))
        })
    }

    /// What is found without asking the others, if the lease allows it. It must allow it before Raft
    /// is asked, when all who wait have come, and still afterwards: answers that came in between may
    /// have promised less, and a change of members may have begun.
    async fn leased(&self) -> Option<Place> {
        let (asked, term) = (Instant::now(), leading_term(&self.raft));
        if !self.is_lasting_voter() {
            return None;
        }
        let age = self.lease.age_max(term, asked);
        if age.is_zero() {
            return None;
        }
        let option = LinearizerOption::new(Some(age), false).with_wait_timeout(Duration::ZERO);
        let read = self.raft.ensure_linearizable(option).await.ok()?;
        let still = self.lease.age_max(term, asked) >= age && self.is_lasting_voter();
        still.then(|| Place::of(read.log_id()))
    }

    fn is_lasting_voter(&self) -> bool {
        let watched = self.raft.server_metrics();
        let metrics = watched.borrow_watched();
        members::is_lasting_voter(metrics.membership_config.membership(), metrics.id)
    }
}

/// A follower's round.
async fn told(raft: Raft, network: Network, limit: Duration) -> Result<Place, Failure> {
    let leader = {
        let watched = raft.server_metrics();
        let metrics = watched.borrow_watched();
        let members = metrics.membership_config.membership();
        let leader = metrics.current_leader;
        leader.and_then(|id| Some((id, members.get_node(&id)?.clone())))
    };
    match leader {
        // It has lost touch with most of the others, or leads since a moment ago.
        Some((id, _)) if id == network.node_id => Err(Failure::unavailable(
            "this node is the leader, and cannot confirm it now",
        )),
        Some((id, node)) => network.read_index(id, &node, limit).await,
        None => Err(Failure::unavailable("no leader is known")),
    }
}
