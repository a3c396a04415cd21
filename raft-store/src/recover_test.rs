//! What is left of a cluster after more than half of it was lost.

use super::*;
use crate::store::open_memory_with;
use crate::testing::{append, history, id, membership, parts};
use crate::types::Incarnation;
use bytes::Bytes;

fn said() -> CommandBytes {
    CommandBytes(Bytes::from_static(b"recovered"))
}

fn vote(term: u64, node: NodeId) -> Vote {
    Vote {
        leader_id: LeaderId {
            term,
            voted_for: node,
        },
        committed: true,
    }
}

async fn of_three(end: u64) -> Store {
    let mut store = open_memory_with(&parts()).unwrap();
    let mut entries = history(end);
    entries[0] = membership(1, 0, &[(1, "a:1"), (2, "b:1"), (3, "c:1")]);
    append(&mut store.log, entries).await.unwrap();
    store.log.save_vote(&vote(4, 3)).await.unwrap();
    store
}

#[tokio::test]
async fn the_one_that_is_left_is_the_only_member_behind_all_that_it_has() {
    let mut store = of_three(5).await;
    let info = NodeInfo {
        addr: "b:2".into(),
        incarnation: Incarnation(7),
    };
    let left = alone(&mut store, 2, info.clone(), said()).await.unwrap();
    assert_eq!(left.last, Some(id(5, 6)));
    let members: Vec<_> = left.members.nodes().collect();
    assert_eq!(members, [(&2, &info)]);
    assert_eq!(left.members.voter_ids().collect::<Vec<_>>(), [2]);
    let mut reader = store.log.get_log_reader().await;
    let last = reader.try_get_log_entries(6..7).await.unwrap();
    assert!(matches!(&last[0].payload, EntryPayload::Normal(command) if *command == said()));
    // Nobody else can have led in the term.
    let given = left.vote.unwrap();
    assert_eq!((given.leader_id.term, given.leader_id.voted_for), (5, 2));
    let again = alone(&mut store, 2, info, said()).await.unwrap();
    assert_eq!(again.last, Some(id(6, 8)));
}

#[tokio::test]
async fn a_node_without_a_vote_or_without_data_is_refused() {
    let mut store = of_three(5).await;
    let before = look(&mut store).await.unwrap();
    let refused = alone(&mut store, 9, NodeInfo::default(), said()).await;
    assert!(refused.unwrap_err().to_string().contains("no vote"));
    assert_eq!(look(&mut store).await.unwrap(), before);
    let mut empty = open_memory_with(&parts()).unwrap();
    let refused = alone(&mut empty, 1, NodeInfo::default(), said()).await;
    assert!(refused.unwrap_err().to_string().contains("no cluster"));
}
