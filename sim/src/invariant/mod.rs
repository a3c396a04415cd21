//! What must hold whatever happens, one rule per file. What can be seen when an entry is applied
//! is checked in [`crate::ledger`]; what clients were told, in [`crate::oracle`].

mod applied_rises;
mod copies_agree;
mod mirror_agrees;
mod one_leader;
mod promises_kept;
mod rows_hold;

use crate::run::Stage;
use applied_rises::AppliedRises;
use copies_agree::CopiesAgree;
use mirror_agrees::MirrorAgrees;
use one_leader::OneLeader;
use promises_kept::PromisesKept;
use rows_hold::RowsHold;

/// A rule.
pub(crate) trait Invariant {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at a running stage. Called every few simulated milliseconds.
    fn look(&mut self, _stage: &Stage) -> Vec<String> {
        Vec::new()
    }

    /// Looks at a healed stage, where all nodes have applied all there is.
    fn look_at_calm(&mut self, _stage: &Stage) -> Vec<String> {
        Vec::new()
    }
}

/// All rules.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(OneLeader::default()),
        Box::new(AppliedRises::default()),
        Box::new(PromisesKept),
        Box::new(RowsHold),
        Box::new(CopiesAgree),
        Box::new(MirrorAgrees),
    ]
}
