//! A set to which each element is added at most once, and from which it is removed at most once.
//!
//! The fates of elements are those of the `set-full` checker of K. Kingsbury's Jepsen: lost, stale,
//! never read, duplicated. An element's life is absent, present, absent, so that no search is
//! needed: its add is placed as late, and its remove as early, as the reads that show it allow,
//! and every read that does not show it must fit outside. That is linearizability of each element,
//! in the sense of P-compositionality (A. Horn and D. Kroening 2015); two elements together are
//! not looked at, since a directory that is read in pages is no snapshot.

use super::verdict::{Verdict, Violation};
use crate::history::{Codec, End, Operation};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is asked of the set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SetInput {
    /// Add this element, which nobody else ever adds.
    Add(u64),
    /// Remove this element; once.
    Remove(u64),
    /// All elements.
    Read,
}

/// What the set answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SetOutput {
    /// Added or removed.
    Done,
    /// All elements, as they were listed.
    Elements(Vec<u64>),
}

/// What is wrong with an element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// It was there, is missing, and is never seen again.
    Lost,
    /// It was there, is missing, and is seen again later.
    Stale,
    /// It is there although its remove was acknowledged.
    Resurrected,
    /// One read shows it twice.
    Duplicated,
    /// It is there although nobody added it, or before anybody did.
    Phantom,
}

/// What was found.
#[derive(Clone, Default, Debug)]
pub struct SetReport {
    /// Elements with a fault, each with the words for it.
    pub faults: Vec<(u64, Fault, String)>,
    /// Elements with an acknowledged change after which nobody read.
    pub never_read: BTreeSet<u64>,
    /// Elements whose adds or removes are not unique, so that nothing can be said of them.
    pub not_unique: BTreeSet<u64>,
    /// How many adds were acknowledged.
    pub acknowledged: usize,
    /// How many reads were answered.
    pub reads: usize,
}

impl SetReport {
    /// A violation if there is a fault; not known if something was never read.
    pub fn verdict(&self) -> Verdict {
        let words = |(element, fault, why): &(u64, Fault, String)| {
            format!("element {element} is {fault:?}: {why}").to_lowercase()
        };
        if !self.faults.is_empty() {
            return Verdict::Violation(Violation {
                problems: self.faults.iter().map(words).collect(),
            });
        }
        if !self.not_unique.is_empty() {
            return Verdict::Unknown(format!(
                "changed more than once in the same way: {:?}",
                self.not_unique
            ));
        }
        if self.reads == 0 || !self.never_read.is_empty() {
            return Verdict::Unknown(format!(
                "nobody read after changes of {} elements",
                self.never_read.len()
            ));
        }
        Verdict::Ok
    }

    /// How many elements have this fault.
    pub fn count(&self, fault: Fault) -> usize {
        let same = self.faults.iter().filter(|(_, found, _)| *found == fault);
        same.count()
    }
}

impl fmt::Display for SetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} adds acknowledged, {} reads, {} faults, {} never read",
            self.acknowledged,
            self.reads,
            self.faults.len(),
            self.never_read.len()
        )
    }
}

/// Entries of the log between which something happened.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    until: u64,
    is_known: bool,
}

struct Read {
    span: Span,
    seen: BTreeSet<u64>,
}

#[derive(Default)]
struct Life {
    added: Option<Span>,
    removed: Option<Span>,
}

/// Looks at each element.
pub fn check(history: &[Operation<SetInput, SetOutput>]) -> SetReport {
    let mut report = SetReport::default();
    let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
    let mut reads = Vec::new();
    for operation in history {
        collect(operation, &mut lives, &mut reads, &mut report);
    }
    report.reads = reads.len();
    for element in reads.iter().flat_map(|read| &read.seen) {
        lives.entry(*element).or_default();
    }
    for (element, life) in &lives {
        if report.not_unique.contains(element) {
            continue;
        }
        if let Some((fault, why)) = fault_of(*element, life, &reads) {
            report.faults.push((*element, fault, why));
        } else if was_never_read(life, &reads) {
            report.never_read.insert(*element);
        }
    }
    report
}

fn collect(
    operation: &Operation<SetInput, SetOutput>,
    lives: &mut BTreeMap<u64, Life>,
    reads: &mut Vec<Read>,
    report: &mut SetReport,
) {
    let span = Span {
        from: operation.invoked.index,
        until: operation.ended().map_or(u64::MAX, |at| at.index),
        is_known: operation.output().is_some(),
    };
    match (&operation.input, &operation.end) {
        (SetInput::Read, End::Ok { output, .. }) => {
            let SetOutput::Elements(elements) = output else {
                return;
            };
            let mut seen = BTreeSet::new();
            for element in elements {
                if !seen.insert(*element) {
                    let why = format!("by the read at {}", span.from);
                    report.faults.push((*element, Fault::Duplicated, why));
                }
            }
            reads.push(Read { span, seen });
        }
        (SetInput::Read, _) | (_, End::Fail { .. }) => {}
        (SetInput::Add(element), _) => {
            report.acknowledged += usize::from(span.is_known);
            let life = lives.entry(*element).or_default();
            if life.added.replace(span).is_some() {
                report.not_unique.insert(*element);
            }
        }
        (SetInput::Remove(element), _) => {
            let life = lives.entry(*element).or_default();
            if life.removed.replace(span).is_some() {
                report.not_unique.insert(*element);
            }
        }
    }
}

fn fault_of(element: u64, life: &Life, reads: &[Read]) -> Option<(Fault, String)> {
    let shows = |read: &&Read| read.seen.contains(&element);
    let earliest_end = reads.iter().filter(shows).map(|read| read.span.until).min();
    let latest_begin = reads.iter().filter(shows).map(|read| read.span.from).max();
    let Some(added) = life.added else {
        return earliest_end.map(|_| (Fault::Phantom, "nobody added it".to_owned()));
    };
    if let Some(end) = earliest_end.filter(|end| *end < added.from) {
        let why = format!("read at {end}, its add began at {}", added.from);
        return Some((Fault::Phantom, why));
    }
    let there_from = added.until.min(earliest_end.unwrap_or(u64::MAX));
    let there_until = match life.removed {
        Some(removed) => {
            if let Some(begin) = latest_begin.filter(|begin| *begin > removed.until) {
                let why = format!("read at {begin}, removed at {}", removed.until);
                return Some((Fault::Resurrected, why));
            }
            removed.from.max(latest_begin.unwrap_or(0))
        }
        None => u64::MAX,
    };
    let missing = reads.iter().find(|read| {
        !shows(read) && read.span.from > there_from && read.span.until < there_until
    })?;
    let Span { from, until, .. } = missing.span;
    let is_seen_later = latest_begin.is_some_and(|begin| begin > until);
    let fault = if is_seen_later {
        Fault::Stale
    } else {
        Fault::Lost
    };
    let why = format!("there from {there_from} on, not in the read at {from} to {until}");
    Some((fault, why))
}

fn was_never_read(life: &Life, reads: &[Read]) -> bool {
    let changes = [life.added, life.removed].into_iter().flatten();
    let last = changes
        .filter(|span| span.is_known)
        .map(|span| span.until)
        .max();
    last.is_some_and(|last| reads.iter().all(|read| read.span.from < last))
}

impl Codec for SetInput {
    type Output = SetOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Read => "read",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Add(element) | Self::Remove(element) => json!(element),
            Self::Read => Value::Null,
        }
    }

    fn answer(&self, output: &SetOutput) -> Value {
        match output {
            SetOutput::Done => self.argument(),
            SetOutput::Elements(elements) => json!(elements),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        match f {
            "add" => Some(Self::Add(argument.as_u64()?)),
            "remove" => Some(Self::Remove(argument.as_u64()?)),
            "read" => Some(Self::Read),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<SetOutput> {
        match self {
            Self::Add(_) | Self::Remove(_) => {
                (*answer == self.argument()).then_some(SetOutput::Done)
            }
            Self::Read => {
                let elements: Option<_> = answer.as_array()?.iter().map(Value::as_u64).collect();
                Some(SetOutput::Elements(elements?))
            }
        }
    }
}
