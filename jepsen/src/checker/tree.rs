//! Renames between directories are atomic: at each moment every file has exactly one name.
//!
//! Each snapshot of all directories must show each file once, and as many as there are. Where the
//! files are is then checked by search ([`super::wgl`]): first apart for files that are never
//! exchanged with each other (P-compositionality, A. Horn and D. Kroening 2015), which finds a file
//! that is in the wrong place, and if asked for all together, which finds two files of one
//! snapshot that were never in these places at the same moment. Apart, another checker is asked too.

use super::second::{both, opinion};
use super::verdict::Verdict;
use super::wgl::{self, Budget};
use crate::history::Operation;
use crate::model::{Tree, TreeInput, TreeOutput};
use std::collections::{BTreeMap, BTreeSet};

/// How much is checked by search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Files apart from each other: fast.
    Apart,
    /// Also all files together, which can need many steps.
    Together,
}

type Call = Operation<TreeInput, TreeOutput>;

/// Checks a history of one tree.
pub fn check(tree: &Tree, history: &[Call], depth: Depth, budget: Budget) -> Verdict {
    if !history.iter().any(|call| listing(call).is_some()) {
        return Verdict::Unknown("nobody looked at the directories".to_owned());
    }
    let problems = history.iter().flat_map(|call| check_snapshot(tree, call));
    let counted = Verdict::of(problems.collect());
    if !counted.is_ok() {
        return counted;
    }
    let apart = groups(tree, history).into_iter().map(|group| {
        let (tree, history) = only(tree, history, &group);
        let ours = wgl::check(&tree, &history, budget);
        both(&ours, opinion(&tree, &history))
    });
    let apart = apart.fold(Verdict::Ok, Verdict::and);
    if !apart.is_ok() || depth == Depth::Apart {
        return apart;
    }
    wgl::check(tree, history, budget).verdict()
}

fn listing(call: &Call) -> Option<&[(u64, Vec<u64>)]> {
    match call.output()? {
        TreeOutput::Directories(directories) => Some(directories),
        TreeOutput::Done | TreeOutput::Absent => None,
    }
}

/// Each file once, and no other.
fn check_snapshot(tree: &Tree, call: &Call) -> Vec<String> {
    let mut names: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (directory, ids) in listing(call).unwrap_or_default() {
        for id in ids {
            names.entry(*id).or_default().push(*directory);
        }
    }
    if listing(call).is_none() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let index = call.invoked.index;
    for id in tree.initial.keys() {
        match names.remove(id).as_deref() {
            None => problems.push(format!("the snapshot at {index} shows file {id} nowhere")),
            Some([_]) => {}
            Some(directories) => problems.push(format!(
                "the snapshot at {index} shows file {id} in the directories {directories:?}"
            )),
        }
    }
    for id in names.keys() {
        problems.push(format!(
            "the snapshot at {index} shows {id}, which is no file"
        ));
    }
    problems
}

/// Files that can be looked at apart from all others.
fn groups(tree: &Tree, history: &[Call]) -> Vec<BTreeSet<u64>> {
    let mut groups: Vec<BTreeSet<u64>> = Vec::new();
    let alone = tree.initial.keys().map(|id| BTreeSet::from([*id]));
    let exchanged = history.iter().filter_map(|call| match call.input {
        TreeInput::Exchange { one, two } => Some(BTreeSet::from([one, two])),
        TreeInput::Move { .. } | TreeInput::Snapshot => None,
    });
    for mut group in alone.chain(exchanged) {
        let touched = groups.extract_if(.., |other| !other.is_disjoint(&group));
        let touched: Vec<BTreeSet<u64>> = touched.collect();
        group.extend(touched.into_iter().flatten());
        groups.push(group);
    }
    groups
}

/// The history as if there were no other files.
fn only(tree: &Tree, history: &[Call], group: &BTreeSet<u64>) -> (Tree, Vec<Call>) {
    let mut tree = tree.clone();
    tree.initial.retain(|id, _| group.contains(id));
    let calls = history.iter().filter(|call| match call.input {
        TreeInput::Move { id, .. } => group.contains(&id),
        TreeInput::Exchange { one, .. } => group.contains(&one),
        TreeInput::Snapshot => true,
    });
    let ids: Vec<String> = group.iter().map(u64::to_string).collect();
    let key = format!("file {}", ids.join(", "));
    let calls = calls.map(|call| {
        let mut call = call.clone();
        call.key.clone_from(&key);
        if let crate::history::End::Ok {
            output: TreeOutput::Directories(directories),
            ..
        } = &mut call.end
        {
            for (_, ids) in directories.iter_mut() {
                ids.retain(|id| group.contains(id));
            }
            directories.retain(|(_, ids)| !ids.is_empty());
        }
        call
    });
    (tree, calls.collect())
}
