//! Gives leadership to another voter, so that a planned stop costs no election timeout.

use super::initialise::ask;
use super::{Core, Raft};
use meta_core::failpoint::{self, Point};
use openraft::async_runtime::WatchReceiver as _;
use raft_store::NodeId;
use std::time::Duration;

/// What one candidate is given to take over.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Candidates that are tried.
const ATTEMPTS_MAX: usize = 2;

/// Gives leadership to the voter that is closest behind. True if another node leads afterwards.
pub(crate) async fn give_away(core: &Core) -> bool {
    for to in candidates(&core.raft, core.config.node_id)
        .into_iter()
        .take(ATTEMPTS_MAX)
    {
        if !core.lead().leads {
            return true;
        }
        if is_ready(core, to).await != Some(true) {
            tracing::warn!(to, "the node cannot take over leadership now");
            continue;
        }
        if transfer(core, to, ATTEMPT).await {
            tracing::info!(to, "leadership was handed over");
            return true;
        }
        tracing::warn!(to, "the node did not take over leadership in time");
    }
    false
}

/// Whether a node can take over, if it answers. One that was started a moment ago may take part in no
/// election yet: nobody would lead until it does.
pub(crate) async fn is_ready(core: &Core, id: NodeId) -> Option<bool> {
    let addr = {
        let watched = core.raft.server_metrics();
        let metrics = watched.borrow_watched();
        let members = metrics.membership_config.membership();
        members.get_node(&id)?.addr.clone()
    };
    let status = ask(core, id, &addr).await?;
    Some(!matches!(status.state.as_str(), "starting" | "poisoned"))
}

/// Gives leadership to `to` and waits until it, or a third node, leads.
pub(crate) async fn transfer(core: &Core, to: NodeId, limit: Duration) -> bool {
    failpoint::pass(Point::HandOver);
    if core.raft.trigger().transfer_leader(to).await.is_err() {
        return false;
    }
    let own = core.config.node_id;
    let another = |leader: &Option<(NodeId, String)>| {
        leader.as_ref().is_some_and(|(leader, _)| *leader != own)
    };
    core.wait_lead(limit, |lead| !lead.leads && another(&lead.leader))
        .await
        .is_some()
}

/// The other voters, the one with the most entries first.
fn candidates(raft: &Raft, own: NodeId) -> Vec<NodeId> {
    let watched = raft.metrics();
    let metrics = watched.borrow_watched();
    let Some(replication) = &metrics.replication else {
        return Vec::new();
    };
    let voters: Vec<NodeId> = metrics.membership_config.membership().voter_ids().collect();
    let mut others: Vec<_> = replication
        .iter()
        .filter(|(id, _)| **id != own && voters.contains(id))
        .map(|(id, matched)| (matched.as_ref().map(|matched| matched.index), *id))
        .collect();
    others.sort_unstable_by(|a, b| b.cmp(a));
    others.into_iter().map(|(_, id)| id).collect()
}
