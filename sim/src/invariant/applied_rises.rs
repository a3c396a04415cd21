//! A running node never un-applies.

use super::Invariant;
use crate::run::Stage;
use std::collections::BTreeMap;

/// The highest index of each process: host and start.
#[derive(Default)]
pub(super) struct AppliedRises {
    highest: BTreeMap<(String, u64), u64>,
}

impl Invariant for AppliedRises {
    fn name(&self) -> &'static str {
        "applied only rises"
    }

    fn look(&mut self, stage: &Stage) -> Vec<String> {
        let mut found = Vec::new();
        for member in stage.sides().flat_map(|side| &side.members) {
            let Some(reader) = member.reader() else {
                continue;
            };
            let applied = reader.applied().map_or(0, |id| id.index);
            let highest = self
                .highest
                .entry((member.host.clone(), member.start()))
                .or_default();
            if applied < *highest {
                found.push(format!("{}: {applied} behind {highest}", member.host));
            }
            *highest = applied;
        }
        found
    }
}
