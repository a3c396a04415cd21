//! What the log says to be on the disk, is: a vote that anybody was told of, and the end of entries
//! that another leader's replace.

use super::Invariant;
use crate::run::Stage;

/// Asks the disks for what a power failure would have taken back.
pub(super) struct PromisesKept;

impl Invariant for PromisesKept {
    fn name(&self) -> &'static str {
        "promises kept"
    }

    fn look(&mut self, stage: &Stage) -> Vec<String> {
        let broken = stage.members().filter(|m| m.disk.broken_promises() > 0);
        broken
            .map(|member| format!("{} took for durable what is not on its disk", member.host))
            .collect()
    }
}
