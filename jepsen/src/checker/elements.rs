//! Some elements of a set, each as a history of its own that is searched like any other: what the set
//! checker says without a search, by both searches.

use super::second::{agree, both, opinion};
use super::set_full::{SetInput, SetOutput, SetReport};
use super::verdict::Verdict;
use super::wgl::{self, Budget};
use crate::history::{End, Operation};
use crate::model::{Directory, DirectoryInput, DirectoryOutput};
use std::collections::BTreeSet;

/// Elements that are looked at.
const ELEMENTS: usize = 20;

type SetCall = Operation<SetInput, SetOutput>;
type NameCall = Operation<DirectoryInput, DirectoryOutput>;

/// What the set checker said, if both searches say the same of some elements; else nothing is known.
/// A search that comes to no end confirms no pass.
pub fn confirmed(history: &[SetCall], report: &SetReport) -> Verdict {
    confirmed_within(history, report, Budget::default())
}

fn confirmed_within(history: &[SetCall], report: &SetReport, budget: Budget) -> Verdict {
    let mut verdict = report.verdict();
    let wrong: BTreeSet<u64> = report.faults.iter().map(|(element, ..)| *element).collect();
    for element in sample(history, &wrong) {
        let calls = calls_of(history, element);
        let ours = wgl::check(&Directory, &calls, budget);
        let theirs = opinion(&Directory, &calls);
        // A listing that shows something twice is for the set checker alone.
        let differs = ours.is_violation() != wrong.contains(&element) && !twice(history, element);
        if differs || !agree(&ours, theirs) {
            return Verdict::Unknown(format!(
                "checkers differ about element {element}: porcupine {theirs:?}, and {ours}"
            ));
        }
        if let Verdict::Unknown(why) = both(&ours, theirs) {
            verdict = verdict.and(Verdict::Unknown(format!("element {element}: {why}")));
        }
    }
    verdict
}

/// Those with faults first, then others from all over the history.
fn sample(history: &[SetCall], wrong: &BTreeSet<u64>) -> BTreeSet<u64> {
    let added = history.iter().filter_map(|call| match call.input {
        SetInput::Add(element) => Some(element),
        SetInput::Remove(_) | SetInput::Read => None,
    });
    let added: Vec<u64> = added.collect();
    let step = added.len().div_ceil(ELEMENTS).max(1);
    let spread = added.iter().step_by(step);
    wrong.iter().take(ELEMENTS).chain(spread).copied().collect()
}

fn calls_of(history: &[SetCall], element: u64) -> Vec<NameCall> {
    let name = element.to_string();
    let calls = history.iter().filter_map(|call| {
        let (input, output) = match (&call.input, call.output()) {
            (SetInput::Add(added), _) if *added == element => {
                (DirectoryInput::Create(name.clone()), DirectoryOutput::Done)
            }
            (SetInput::Remove(removed), _) if *removed == element => {
                (DirectoryInput::Unlink(name.clone()), DirectoryOutput::Done)
            }
            (SetInput::Read, Some(SetOutput::Elements(elements))) => {
                let there = elements.contains(&element);
                let output = if there {
                    DirectoryOutput::Present
                } else {
                    DirectoryOutput::Absent
                };
                (DirectoryInput::Lookup(name.clone()), output)
            }
            _ => return None,
        };
        let end = match call.end {
            End::Ok { at, .. } => End::Ok { at, output },
            End::Fail { at } => End::Fail { at },
            End::Info => End::Info,
        };
        Some(Operation {
            process: call.process,
            key: name.clone(),
            input,
            invoked: call.invoked,
            end,
        })
    });
    calls.collect()
}

/// Whether a listing shows the element more than once.
fn twice(history: &[SetCall], element: u64) -> bool {
    history.iter().any(|call| match call.output() {
        Some(SetOutput::Elements(elements)) => {
            elements.iter().filter(|other| **other == element).count() > 1
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::set_full::check;
    use crate::history::At;

    fn at(index: u64) -> At {
        At {
            index,
            time_ns: index,
        }
    }

    fn call(begin: u64, input: SetInput, output: SetOutput) -> SetCall {
        let end = End::Ok {
            at: at(begin + 1),
            output,
        };
        Operation {
            process: 0,
            key: String::new(),
            input,
            invoked: at(begin),
            end,
        }
    }

    fn read(begin: u64, elements: &[u64]) -> SetCall {
        let output = SetOutput::Elements(elements.to_vec());
        call(begin, SetInput::Read, output)
    }

    #[test]
    fn the_searches_confirm_what_is_right_and_what_is_wrong() {
        let add = |begin, element| call(begin, SetInput::Add(element), SetOutput::Done);
        let remove = |begin, element| call(begin, SetInput::Remove(element), SetOutput::Done);
        let right = [add(0, 1), read(2, &[1]), remove(4, 1), read(6, &[])];
        assert_eq!(confirmed(&right, &check(&right)), Verdict::Ok);
        let lost = [add(0, 1), read(2, &[1]), read(4, &[])];
        let found = confirmed(&lost, &check(&lost));
        assert!(matches!(found, Verdict::Violation(_)), "{found:?}");
        let twice = [add(0, 1), read(2, &[1, 1])];
        let found = confirmed(&twice, &check(&twice));
        assert!(matches!(found, Verdict::Violation(_)), "{found:?}");
    }

    #[test]
    fn a_search_without_an_end_confirms_no_pass() {
        let none = Budget {
            steps_max: 0,
            ..Budget::default()
        };
        let right = [
            call(0, SetInput::Add(1), SetOutput::Done),
            read(2, &[1]),
            call(4, SetInput::Remove(1), SetOutput::Done),
            read(6, &[]),
        ];
        let report = check(&right);
        assert_eq!(report.verdict(), Verdict::Ok);
        let found = confirmed_within(&right, &report, none);
        let Verdict::Unknown(why) = found else {
            panic!("{found}");
        };
        assert!(why.contains("element 1"), "{why}");
    }

    #[test]
    fn a_checker_that_missed_something_is_not_believed() {
        let add = call(0, SetInput::Add(1), SetOutput::Done);
        let lost = [add, read(2, &[1]), read(4, &[])];
        let mut blind = check(&lost);
        blind.faults.clear();
        let found = confirmed(&lost, &blind);
        assert!(matches!(found, Verdict::Unknown(_)), "{found:?}");
    }
}
