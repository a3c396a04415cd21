//! Election safety: no two nodes lead in one term.

use super::Invariant;
use crate::run::Stage;
use raft_store::NodeId;
use std::collections::BTreeMap;

/// Who led in which term, by cluster.
#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<(usize, u64), NodeId>,
}

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one leader per term"
    }

    fn look(&mut self, stage: &Stage) -> Vec<String> {
        let mut found = Vec::new();
        for (at, side) in stage.sides().enumerate() {
            for member in &side.members {
                let Some(term) = member.leading_term() else {
                    continue;
                };
                let first = *self.leaders.entry((at, term)).or_insert(member.id);
                if first != member.id {
                    let second = member.id;
                    found.push(format!(
                        "nodes {first} and {second} both lead in term {term}"
                    ));
                }
            }
        }
        found
    }
}
