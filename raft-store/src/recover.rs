//! A cluster that lost more than half of its members for good goes on from what one of them has, as
//! a cluster of that one. Whatever that one lacks is lost, which is why nothing does this by itself.

use crate::error::StoreError;
use crate::store::Store;
use crate::types::{CommandBytes, Entry, LogId, Membership, NodeId, NodeInfo, Vote};
use meta_core::failpoint::{self, Point};
use openraft::StorageHelper;
use openraft::entry::EntryPayload;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What a node has of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// The last entry of its log.
    pub last: Option<LogId>,
    /// The last entry that it has applied.
    pub applied: Option<LogId>,
    /// The last vote that it gave.
    pub vote: Option<Vote>,
    /// The members, as of its log.
    pub members: Membership,
}

/// Looks at the store of a node that does not run.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn look(store: &mut Store) -> Result<Left, StoreError> {
    let state = store.log.get_log_state().await.map_err(refused)?;
    let mut reader = store.log.get_log_reader().await;
    let vote = reader.read_vote().await.map_err(refused)?;
    let applied = store.reader.applied();
    let mut helper = StorageHelper::new(&mut store.log, &mut store.machine);
    let members = helper.get_membership().await;
    let members = members.map_err(|error| refused(io::Error::other(error.to_string())))?;
    Ok(Left {
        last: state.last_log_id,
        applied,
        vote,
        members: members.effective().membership().clone(),
    })
}

/// Makes `id` the only member, behind all that its log holds, in a term that nobody has seen,
/// and `recovered` the first command of that term.
///
/// # Errors
/// [`StoreError::Refused`] if the log is empty or `id` is no voter; nothing was changed then.
pub async fn alone(
    store: &mut Store,
    id: NodeId,
    info: NodeInfo,
    recovered: CommandBytes,
) -> Result<Left, StoreError> {
    let left = look(store).await?;
    let (Some(last), Some(vote)) = (left.last, left.vote) else {
        return Err(refused(io::Error::other("the node belongs to no cluster")));
    };
    if !left.members.voter_ids().any(|voter| voter == id) {
        return Err(refused(io::Error::other(
            "the node has no vote in its cluster",
        )));
    }
    let term = vote.leader_id.term.max(last.committed_leader_id().term) + 1;
    let vote = Vote {
        leader_id: LeaderId {
            term,
            voted_for: id,
        },
        committed: false,
    };
    // The vote first: with it alone nothing has changed but the term.
    store.log.save_vote(&vote).await.map_err(refused)?;
    failpoint::pass(Point::RecoverVoted);
    let members = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, info)]));
    let members = members.map_err(|error| refused(io::Error::other(error.to_string())))?;
    let payloads = [
        EntryPayload::Membership(members),
        EntryPayload::Normal(recovered),
    ];
    let entries = payloads.into_iter().zip(last.index + 1..);
    let entries = entries.map(|(payload, index)| Entry {
        log_id: LogId::new(CommittedLeaderId::new(term), index),
        payload,
    });
    let appended = store.log.blocking_append(entries.collect::<Vec<_>>()).await;
    appended.map_err(|error| refused(io::Error::other(error.to_string())))?;
    failpoint::pass(Point::RecoverAppended);
    look(store).await
}

fn refused(error: io::Error) -> StoreError {
    StoreError::Refused(error.to_string())
}

#[cfg(test)]
#[path = "recover_test.rs"]
mod tests;
