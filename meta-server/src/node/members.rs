//! Who belongs to the cluster, and how that is changed: a node is taken in as a learner, gets a vote
//! once it has caught up, and is taken out.
//!
//! Each step does nothing if it is done already, so that whoever lost the answer asks again. A
//! member is its number *and* its data ([`Incarnation`]): a node that lost its data is not the
//! member that it was, and is first taken out.

use super::handover::give_away;
use super::initialise::ask;
use super::{Core, Raft};
use crate::clock::nanoseconds;
use crate::generations::FIRST;
use meta_core::failpoint::{self, Point};
use openraft::async_runtime::{Instant as _, WatchReceiver as _};
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::VoteRequest;
use openraft::{ChangeMembers, RaftMetrics};
use proto::v1;
use proto::v1::raft_client::RaftClient;
use raft_store::{Incarnation, Membership, NodeId, NodeInfo, TypeConfig, Vote, wire};
use std::collections::BTreeSet;
use std::time::Duration;

/// Members of one cluster.
const MEMBERS_MAX: usize = 9;
/// A learner so few entries behind gets its vote: it has the rest soon.
const BEHIND_MAX: u64 = 1000;
/// A change of members waits for more than half of the voters so long.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A newcomer is asked which commands it reads.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// A voter that answered so lately is there.
const ALIVE: Duration = Duration::from_secs(3);

/// Why the members stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembersError {
    /// Asking again does not help; the text says what does.
    #[error("{0}")]
    Refused(String),
    /// Asking again may help, perhaps elsewhere.
    #[error("{0}")]
    Later(String),
}

use MembersError::{Later, Refused};

type Done = Result<(), MembersError>;

/// All members as this node knows them; how far each is, only the leader knows.
pub(crate) fn list(core: &Core) -> Vec<v1::Member> {
    let raft = metrics(core);
    let membership = raft.membership_config.membership();
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let member = |(id, node): (&NodeId, &NodeInfo)| {
        let matched = raft.replication.as_ref().and_then(|known| known.get(id));
        let matched = matched.and_then(|at| at.as_ref().map(|at| at.index));
        let own = raft.replication.is_some() && *id == core.config.node_id;
        v1::Member {
            id: *id,
            addr: node.addr.clone(),
            incarnation: node.incarnation.0,
            voter: voters.contains(id),
            matched_index: if own { raft.last_log_index } else { matched },
            heard_ms: heard(core, &raft, *id)
                .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        }
    };
    membership.nodes().map(member).collect()
}

/// What Raft says of itself now. A copy: who reads it once more while it is read waits for the writer
/// that waits for the first reading, and all of Raft with it.
pub(super) fn metrics(core: &Core) -> RaftMetrics<TypeConfig> {
    core.raft.metrics().borrow_watched().clone()
}

/// How long ago a member answered, if this node leads and it has.
fn heard(core: &Core, raft: &RaftMetrics<TypeConfig>, id: NodeId) -> Option<Duration> {
    let answers = raft.heartbeat.as_ref()?;
    if id == core.config.node_id {
        return Some(Duration::ZERO);
    }
    let at = **answers.get(&id)?.as_ref()?;
    Some(at.elapsed())
}

/// Takes in a node as a learner: it receives everything, and has no vote.
pub(crate) async fn add_learner(core: &Core, id: NodeId, node: NodeInfo) -> Done {
    let members = settled(core).await?;
    match members.get_node(&id) {
        Some(known) if *known == node => return Ok(()),
        Some(known) if known.incarnation == node.incarnation => {
            return Err(Refused(format!(
                "node {id} is a member at {}: take it out first to give it another address",
                known.addr
            )));
        }
        Some(_) => {
            return Err(Refused(format!(
                "node {id} is a member already, with other data than those: if its data were lost, \
                 `curlew-meta replace` takes it in anew; else give the new node another number"
            )));
        }
        None => {}
    }
    let taken = members.nodes().find(|(_, other)| other.addr == node.addr);
    if let Some((other, _)) = taken {
        let addr = &node.addr;
        return Err(Refused(format!("{addr} is the address of node {other}")));
    }
    if members.nodes().count() >= MEMBERS_MAX {
        return Err(Refused(format!(
            "the cluster has {MEMBERS_MAX} members, and more do not work well"
        )));
    }
    check_newcomer(core, id, &node).await?;
    tracing::info!(id, addr = node.addr, "taking in a node");
    let adding = core.raft.add_learner(id, node, false);
    changed(tokio::time::timeout(CHANGE_TIMEOUT, adding).await)?;
    failpoint::pass(Point::LearnerAdded);
    Ok(())
}

/// The node must be there, be who it is said to be, belong to no cluster, and read what it will be
/// sent.
async fn check_newcomer(core: &Core, id: NodeId, node: &NodeInfo) -> Done {
    let addr = &node.addr;
    let Some(status) = ask(core, id, addr).await else {
        return Err(Refused(format!(
            "the leader reaches no node at {addr}: check the address, and that it runs"
        )));
    };
    if status.node_id != id || Incarnation(status.incarnation) != node.incarnation {
        let other = status.node_id;
        return Err(Refused(format!(
            "at {addr} the leader finds node {other}, and not this node {id}"
        )));
    }
    if node.incarnation == Incarnation::default() {
        return Err(Refused(format!(
            "node {id} has data of an earlier version: give it an empty data_dir"
        )));
    }
    if status.initialised || !status.members.is_empty() {
        return Err(Refused(format!(
            "node {id} has the data of a cluster: give it an empty data_dir"
        )));
    }
    let needed = core.needed_generation();
    let needed = needed.map_err(|failure| Later(failure.message))?;
    if needed > FIRST && generation(core, id, node).await? < needed {
        return Err(Refused(format!(
            "node {id} runs an older version, which would stop at commands that this cluster's log \
             may hold: upgrade that node first"
        )));
    }
    Ok(())
}

/// Up to which generation a newcomer reads commands. Its status does not tell that, but each of its
/// answers to a peer does: it is asked whether it would vote, which changes nothing there.
async fn generation(core: &Core, id: NodeId, node: &NodeInfo) -> Result<u32, MembersError> {
    let silent = |why: String| {
        Later(format!(
            "node {id} does not say which commands it reads: {why}"
        ))
    };
    let own = core.config.node_id;
    let question = VoteRequest::<TypeConfig>::new(Vote::new(0, own), None);
    let payload = wire::encode(&question).map_err(|error| silent(error.to_string()))?;
    let channel = core.channels.messages(id, &node.addr);
    let channel = channel.map_err(|error| silent(error.to_string()))?;
    let request = v1::RaftRequest {
        group: 0,
        sender: own,
        target: id,
        sender_clock_ns: nanoseconds(core.wall.now()),
        payload: payload.into(),
        target_incarnation: node.incarnation.0,
        sender_let_in: 0,
    };
    let mut client = RaftClient::new(channel);
    let said = match tokio::time::timeout(ASK_TIMEOUT, client.pre_vote(request)).await {
        Ok(Ok(answer)) => answer.into_inner().receiver_generation.max(FIRST),
        Ok(Err(status)) => return Err(silent(status.message().to_owned())),
        Err(_elapsed) => return Err(silent("it did not answer in time".to_owned())),
    };
    // Another node may have had the number before, and said something else.
    core.generations.observe(id, said);
    Ok(said)
}

/// Gives a learner a vote, once it has nearly all that there is.
pub(crate) async fn promote(core: &Core, id: NodeId) -> Done {
    let members = settled(core).await?;
    if members.voter_ids().any(|voter| voter == id) {
        return Ok(());
    }
    if members.get_node(&id).is_none() {
        return Err(Refused(format!("node {id} is no member")));
    }
    let raft = metrics(core);
    let matched = raft.replication.as_ref().and_then(|known| known.get(&id));
    let matched = matched.and_then(|at| at.as_ref().map(|at| at.index));
    let (matched, last) = (matched.unwrap_or(0), raft.last_log_index.unwrap_or(0));
    let is_there = heard(core, &raft, id).is_some_and(|ago| ago < ALIVE);
    if !is_there || matched.saturating_add(BEHIND_MAX) < last {
        return Err(Later(format!(
            "node {id} has {matched} of {last} log entries"
        )));
    }
    tracing::info!(id, "giving a node its vote");
    change(&core.raft, ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await?;
    failpoint::pass(Point::VoterAdded);
    Ok(())
}

/// Takes a node out. What is left must be able to decide without it.
pub(crate) async fn remove(core: &Core, id: NodeId) -> Done {
    let members = settled(core).await?;
    if members.get_node(&id).is_none() {
        return Ok(());
    }
    let mut voters: BTreeSet<NodeId> = members.voter_ids().collect();
    if !voters.remove(&id) {
        tracing::info!(id, "taking out a learner");
        return change(&core.raft, ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await;
    }
    if voters.is_empty() {
        return Err(Refused(format!("node {id} is the only voter")));
    }
    let raft = metrics(core);
    let is_there = |id: &&NodeId| heard(core, &raft, **id).is_some_and(|ago| ago < ALIVE);
    let there = voters.iter().filter(is_there).count();
    if there * 2 <= voters.len() {
        return Err(Refused(format!(
            "of the {} voters that would be left only {there} answer, and they could decide \
             nothing: start the others first",
            voters.len()
        )));
    }
    if id == core.config.node_id {
        // Who leads does not take itself out: another node does that when it leads.
        give_away(core).await;
        let why = "the node leads, and gives that away first: ask the next leader";
        return Err(Later(why.to_owned()));
    }
    tracing::info!(id, "taking out a voter");
    let removed = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
    change(&core.raft, removed).await?;
    failpoint::pass(Point::MemberRemoved);
    Ok(())
}

/// The members, once this node has made sure that it leads and that no earlier change is half done.
async fn settled(core: &Core) -> Result<Membership, MembersError> {
    core.check_leading()
        .map_err(|failure| Later(failure.message))?;
    let passed = core.reads.pass().await;
    passed.map_err(|failure| Later(failure.message))?;
    let members = membership(&core.raft);
    if members.get_joint_config().len() < 2 {
        return Ok(members);
    }
    if !stays(&members, core.config.node_id) {
        // Who would be left alone elects itself at once, while this node still leads.
        give_away(core).await;
        let why = "the node leads and is being taken out, and gives leadership away first: ask the \
                   next leader";
        return Err(Later(why.to_owned()));
    }
    tracing::info!("ending a change of members that was begun");
    change(&core.raft, ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
    Ok(membership(&core.raft))
}

/// Whether a node is among the voters that a change leads to.
fn stays(members: &Membership, id: NodeId) -> bool {
    let voters = members.get_joint_config().last();
    voters.is_some_and(|voters| voters.contains(&id))
}

/// Whether a node is among the voters on both sides of a change.
pub(crate) fn is_lasting_voter(members: &Membership, id: NodeId) -> bool {
    let sets = members.get_joint_config();
    !sets.is_empty() && sets.iter().all(|voters| voters.contains(&id))
}

fn membership(raft: &Raft) -> Membership {
    let watched = raft.metrics();
    let metrics = watched.borrow_watched();
    metrics.membership_config.membership().clone()
}

async fn change(raft: &Raft, members: ChangeMembers<NodeId, NodeInfo>) -> Done {
    let changing = raft.change_membership(members, false);
    changed(tokio::time::timeout(CHANGE_TIMEOUT, changing).await)
}

type Written<T> = Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn changed<T>(written: Result<Written<T>, tokio::time::error::Elapsed>) -> Done {
    match written {
        Ok(Ok(_done)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(Later(error.to_string()))
        }
        Ok(Err(error)) => Err(Later(error.to_string())),
        Err(_elapsed) => Err(Later(
            "more than half of the voters did not answer in time".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn members(sets: &[&[NodeId]]) -> Membership {
        let sets = sets.iter().map(|voters| voters.iter().copied().collect());
        let nodes = [1, 2, 3].map(|id| (id, NodeInfo::default()));
        Membership::new(sets.collect(), BTreeMap::from(nodes)).unwrap()
    }

    #[test]
    fn who_is_being_taken_out_neither_ends_the_change_nor_has_a_lease() {
        let leaving = members(&[&[1, 2], &[1]]);
        assert!(stays(&leaving, 1) && !stays(&leaving, 2));
        assert!(is_lasting_voter(&leaving, 1) && !is_lasting_voter(&leaving, 2));
        let left = members(&[&[1]]);
        assert!(is_lasting_voter(&left, 1) && !is_lasting_voter(&left, 2));
    }

    #[test]
    fn who_gets_a_vote_has_no_lease_before_the_change_is_over() {
        let coming = members(&[&[1], &[1, 2]]);
        assert!(stays(&coming, 2) && !is_lasting_voter(&coming, 2));
        assert!(is_lasting_voter(&coming, 1) && !is_lasting_voter(&coming, 3));
        assert!(is_lasting_voter(&members(&[&[1, 2]]), 2));
        assert!(!is_lasting_voter(&Membership::default(), 1), "no cluster");
    }
}
