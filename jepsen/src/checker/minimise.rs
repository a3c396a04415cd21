//! Makes a contradiction small without making another one of it.
//!
//! Leaving out just any operation would mislead: without its write, a read of a value shows a
//! value that nobody wrote, which is not what happened. So an operation is left out only if the
//! rest of a right history would be right without it: one that changes nothing, or all operations
//! on a subject which no other one speaks of.

use super::counterexample::Counterexample;
use super::wgl::{Budget, Found, Meter, search};
use crate::history::{End, Operation};
use crate::model::{Model, OperationOf, Subjects};
use std::collections::BTreeSet;
use std::time::Instant;

/// The smallest part that was found of a history with a contradiction.
pub(super) fn minimise<M: Model>(
    model: &M,
    history: &[&OperationOf<M>],
    budget: Budget,
) -> Counterexample<M::Input, M::Output> {
    let mut work = Minimise {
        model,
        budget,
        deadline: Instant::now() + budget.time_max,
        is_sure: true,
    };
    let mut kept = work.shortest_prefix(history);
    loop {
        let before = kept.len();
        kept = work.without_reads(kept);
        kept = work.without_subjects(kept);
        if kept.len() == before {
            break;
        }
    }
    Counterexample {
        key: history
            .first()
            .map_or_else(String::new, |first| first.key.clone()),
        operations: kept,
        among: history.len(),
        is_minimal: work.is_sure,
    }
}

struct Minimise<'a, M: Model> {
    model: &'a M,
    budget: Budget,
    deadline: Instant,
    /// Whether no search was given up.
    is_sure: bool,
}

impl<M: Model> Minimise<'_, M> {
    fn is_contradiction(&mut self, history: &[OperationOf<M>]) -> bool {
        let history: Vec<&OperationOf<M>> = history.iter().collect();
        let mut meter = Meter::new(self.budget.steps_max, self.deadline);
        match search(self.model, &history, &mut meter) {
            Found::Contradiction => true,
            Found::Order => false,
            Found::Limit(_) => {
                self.is_sure = false;
                false
            }
        }
    }

    /// Up to the first end with which there is a contradiction. More entries never heal one, so
    /// that halving finds it.
    fn shortest_prefix(&mut self, history: &[&OperationOf<M>]) -> Vec<OperationOf<M>> {
        let ends = history.iter().filter(|operation| !operation.is_failed());
        let mut ends: Vec<u64> = ends
            .filter_map(|one| one.ended())
            .map(|at| at.index)
            .collect();
        ends.sort_unstable();
        let (mut fine, mut wrong) = (0, ends.len());
        while fine + 1 < wrong {
            let middle = fine.midpoint(wrong);
            if self.is_contradiction(&prefix(history, ends[middle - 1])) {
                wrong = middle;
            } else {
                fine = middle;
            }
        }
        let last = ends.get(wrong.saturating_sub(1)).copied();
        prefix(history, last.unwrap_or(u64::MAX))
    }

    /// Leaves out operations that change nothing, many at once as long as that goes.
    fn without_reads(&mut self, mut kept: Vec<OperationOf<M>>) -> Vec<OperationOf<M>> {
        let mut chunk = kept.len();
        while chunk > 0 {
            let mut from = 0;
            while from < kept.len() {
                let until = kept.len().min(from + chunk);
                let mut rest = kept.clone();
                let mut place = 0;
                rest.retain(|operation| {
                    let is_in_chunk = (from..until).contains(&place);
                    place += 1;
                    !is_in_chunk || !self.reads_only(operation)
                });
                if rest.len() < kept.len() && self.is_contradiction(&rest) {
                    from = until - (kept.len() - rest.len());
                    kept = rest;
                } else {
                    from = until;
                }
            }
            chunk /= 2;
        }
        kept
    }

    fn reads_only(&self, operation: &OperationOf<M>) -> bool {
        self.model.reads_only(&operation.input, operation.output())
    }

    /// Leaves out subjects, each with all others that come together with it in some operation.
    fn without_subjects(&mut self, mut kept: Vec<OperationOf<M>>) -> Vec<OperationOf<M>> {
        let mut chunk = kept.len();
        while chunk > 0 {
            for groups in self.groups(&kept).chunks(chunk) {
                let gone: BTreeSet<&String> = groups.iter().flatten().collect();
                let mut rest = kept.clone();
                rest.retain(|operation| match self.subjects(operation) {
                    Subjects::Some(of) => !of.iter().any(|subject| gone.contains(subject)),
                    Subjects::All => true,
                });
                if self.is_contradiction(&rest) {
                    kept = rest;
                }
            }
            chunk /= 2;
        }
        kept
    }

    /// Subjects that come together. There are none if some operation speaks of everything.
    fn groups(&self, kept: &[OperationOf<M>]) -> Vec<BTreeSet<String>> {
        let mut groups: Vec<BTreeSet<String>> = Vec::new();
        for operation in kept {
            let Subjects::Some(subjects) = self.subjects(operation) else {
                return Vec::new();
            };
            let mut group: BTreeSet<String> = subjects.into_iter().collect();
            let touched = groups.extract_if(.., |other| !other.is_disjoint(&group));
            let touched: Vec<BTreeSet<String>> = touched.collect();
            group.extend(touched.into_iter().flatten());
            if !group.is_empty() {
                groups.push(group);
            }
        }
        groups
    }

    fn subjects(&self, operation: &OperationOf<M>) -> Subjects {
        self.model.subjects(&operation.input, operation.output())
    }
}

/// What was known when the entry `last` was written.
fn prefix<I: Clone, O: Clone>(history: &[&Operation<I, O>], last: u64) -> Vec<Operation<I, O>> {
    let begun = history
        .iter()
        .filter(|operation| operation.invoked.index <= last && !operation.is_failed());
    let cut = begun.map(|operation| {
        let is_over = operation.ended().is_some_and(|at| at.index <= last);
        let operation = (*operation).clone();
        if is_over {
            operation
        } else {
            operation.with_end(End::Info)
        }
    });
    cut.collect()
}
