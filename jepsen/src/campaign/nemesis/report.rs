//! What a nemesis did.

use super::Nemesis;
use crate::history::Recorder;
use serde::{Deserialize, Serialize};

/// The time that a fault lasted, in milliseconds since the history's begin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Its kind.
    pub kind: String,
    /// When it began.
    pub begin_ms: u64,
    /// When it was healed.
    pub end_ms: u64,
}

/// What a nemesis did.
#[derive(Clone, Default, Debug)]
pub struct NemesisReport {
    /// Faults begun.
    pub faults: u32,
    /// Of these, how many hit the leader.
    pub leader_hits: u32,
    /// Of these, how many took the majority away.
    pub majority_hits: u32,
    /// Of these, during how many the others were seen to elect another leader.
    pub replaced: u32,
    /// Why the run did not do what it was for, if it did not.
    pub gap: Option<String>,
    /// When the faults were.
    pub spans: Vec<Span>,
}

/// Notes when faults begin and end.
pub(super) struct Watch<'a> {
    recorder: &'a Recorder,
    begin_ms: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn start(recorder: &'a Recorder) -> Self {
        let begin_ms = recorder.now_ns() / 1_000_000;
        Self { recorder, begin_ms }
    }

    pub(super) fn end(self, nemesis: Nemesis, report: &mut NemesisReport) {
        report.spans.push(Span {
            kind: format!("{nemesis:?}"),
            begin_ms: self.begin_ms,
            end_ms: self.recorder.now_ns() / 1_000_000,
        });
    }
}

impl NemesisReport {
    /// Notes a fault that hit `hit` of `all` nodes.
    pub(super) fn note(&mut self, hit: &[u64], leader: Option<u64>, all: usize) {
        self.faults += 1;
        self.leader_hits += u32::from(leader.is_some_and(|id| hit.contains(&id)));
        self.majority_hits += u32::from(hit.len() * 2 > all);
    }

    /// Why there were too few faults of nodes, if there were, and whether leaders are `deposed` by
    /// them.
    pub(super) fn too_few(&self, nodes: bool, deposed: bool) -> Option<String> {
        if self.faults == 0 {
            Some("no fault happened".to_owned())
        } else if nodes && self.leader_hits == 0 {
            Some("no fault hit the leader".to_owned())
        } else if deposed && self.replaced == 0 {
            Some("no leader was replaced".to_owned())
        } else {
            None
        }
    }
}
