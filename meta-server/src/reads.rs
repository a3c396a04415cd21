//! Linearizable reads by ReadIndex, one round for all who wait.
//!
//! A round confirms with a majority that this node still leads, and waits until everything
//! committed before the round began is applied. So a round answers exactly those reads that were
//! waiting when it began; later ones wait for the next. A deposed leader gets no majority, and its
//! rounds fail: it can never answer from an old state.

use crate::failure::{self, Failure};
use crate::metrics::Metrics;
use crate::node::Raft;
use openraft::ReadPolicy;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Reads that may wait for a round.
const WAITING_MAX: usize = 16_384;

type Waiter = oneshot::Sender<Result<(), Failure>>;

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

/// The rounds of one node.
pub(crate) struct ReadRounds {
    raft: Raft,
    waiting: mpsc::Receiver<Waiter>,
    metrics: Arc<Metrics>,
    limit: Duration,
}

/// The gate and the rounds behind it. A round is given up after `limit`.
pub(crate) fn read_gate(
    raft: Raft,
    metrics: Arc<Metrics>,
    limit: Duration,
) -> (ReadGate, ReadRounds) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    (
        ReadGate { waiting: sender },
        ReadRounds {
            raft,
            waiting,
            metrics,
            limit,
        },
    )
}

impl ReadGate {
    /// Returns once a view taken now shows everything that was answered before the call.
    pub(crate) async fn pass(&self) -> Result<(), Failure> {
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

impl ReadRounds {
    /// Runs rounds until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                count = self.waiting.recv_many(&mut batch, WAITING_MAX) => count,
                () = stop.cancelled() => return,
            };
            if count == 0 {
                return;
            }
            self.metrics.read_rounds.inc();
            let confirmed = tokio::select! {
                confirmed = self.round() => confirmed,
                () = stop.cancelled() => Err(Failure::unavailable("the node is stopping")),
            };
            for waiter in batch.drain(..) {
                // A waiter may have left: its client went away.
                let _left = waiter.send(confirmed.clone());
            }
        }
    }

    async fn round(&self) -> Result<(), Failure> {
        let confirming = async {
            self.raft
                .ensure_linearizable(ReadPolicy::ReadIndex)
                .await
                .map_err(failure::of_read)
        };
        match tokio::time::timeout(self.limit, confirming).await {
            Ok(confirmed) => confirmed.map(|_read_log_id| ()),
            Err(_elapsed) => Err(Failure::unavailable(
                "the leader does not hear from a majority",
            )),
        }
    }
}
