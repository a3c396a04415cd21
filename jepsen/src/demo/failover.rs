//! The leader's death, in the middle of the copy.

use crate::cluster::leader_among;
use crate::playground::{Side, kill_node};
use crate::wait;
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long a new leader may take before the demo gives up. The proof asks for much less.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failover {
    /// The node that was killed.
    pub(super) killed: u64,
    /// The node that leads now.
    pub(super) leader: u64,
    /// From the kill until another node said that it leads.
    pub(super) without_leader: Duration,
}

/// Kills the leader of `side` and waits for the next one.
pub(super) async fn kill_leader(side: &Side) -> Result<Failover> {
    let all = side.addrs();
    let killed = wait::until("a leader to kill", PATIENCE, async || {
        Ok(leader_among(&all).await)
    })
    .await?;
    let victim = side.node(killed)?;
    kill_node(victim)?;
    let begin = Instant::now();
    let others: Vec<String> = all
        .into_iter()
        .filter(|addr| *addr != victim.addr)
        .collect();
    let leader = wait::until("the next leader", PATIENCE, async || {
        Ok(leader_among(&others).await)
    })
    .await?;
    Ok(Failover {
        killed,
        leader,
        without_leader: begin.elapsed(),
    })
}
