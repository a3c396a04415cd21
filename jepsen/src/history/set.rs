//! A directory as a set of names. Each name is added at most once and removed at most once, so its
//! life is: absent, present, absent. The check finds, for each name alone, whether its changes can
//! be placed in time so that every listing is right (linearizability of each element). It does not
//! look at two names together: a listing of several pages is no snapshot.

use super::{Edn, End, Entry};
use std::collections::{BTreeMap, BTreeSet};

/// A call on the set. The answer is the set's elements for a read, else nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SetCall {
    /// Adds an element that was never added.
    Add(u64),
    /// Removes an element whose add was acknowledged, once.
    Remove(u64),
    /// Lists all.
    Read,
}

impl Edn<Vec<u64>> for SetCall {
    fn function(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Read => "read",
        }
    }

    fn value(&self, result: Option<&Vec<u64>>) -> String {
        match (self, result) {
            (Self::Add(element) | Self::Remove(element), _) => element.to_string(),
            (Self::Read, None) => "nil".to_owned(),
            (Self::Read, Some(elements)) => {
                let list: Vec<String> = elements.iter().map(u64::to_string).collect();
                format!("#{{{}}}", list.join(" "))
            }
        }
    }
}

/// From when until when a change can have happened.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    until: u64,
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

/// All problems of a history; none means that it is right.
pub fn check_set(history: &[Entry<SetCall, Vec<u64>>]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
    let mut reads = Vec::new();
    for entry in history {
        let span = Span {
            from: entry.invoked,
            until: entry.latest(),
        };
        match (&entry.call, &entry.end) {
            (SetCall::Read, End::Ok { result, .. }) => {
                let seen: BTreeSet<u64> = result.iter().copied().collect();
                if seen.len() != result.len() {
                    problems.push(format!("a listing at {} names an element twice", span.from));
                }
                reads.push(Read { span, seen });
            }
            (SetCall::Read, _) | (_, End::Fail { .. }) => {}
            (SetCall::Add(element), _) => lives.entry(*element).or_default().added = Some(span),
            (SetCall::Remove(element), _) => {
                lives.entry(*element).or_default().removed = Some(span);
            }
        }
    }
    let everything: BTreeSet<u64> = reads
        .iter()
        .flat_map(|read| &read.seen)
        .chain(lives.keys())
        .copied()
        .collect();
    for element in everything {
        let life = lives.remove(&element).unwrap_or_default();
        problems.extend(check_element(element, &life, &reads));
    }
    problems
}

/// Places the add as late and the remove as early as the listings that show the element allow:
/// that leaves most room for the listings that do not.
fn check_element(element: u64, life: &Life, reads: &[Read]) -> Option<String> {
    let present: Vec<&Span> = reads
        .iter()
        .filter(|r| r.seen.contains(&element))
        .map(|r| &r.span)
        .collect();
    let Some(added) = life.added else {
        return Some(format!("element {element} is listed and was never added"));
    };
    let shown_until = present
        .iter()
        .map(|span| span.until)
        .min()
        .unwrap_or(u64::MAX);
    let shown_from = present.iter().map(|span| span.from).max().unwrap_or(0);
    if shown_until < added.from {
        return Some(format!("element {element} is listed before its add began"));
    }
    let add = added.until.min(shown_until);
    let remove = match life.removed {
        Some(removed) if shown_from > removed.until => {
            return Some(format!(
                "element {element} is listed after its remove was acknowledged"
            ));
        }
        Some(removed) => removed.from.max(shown_from),
        None => u64::MAX,
    };
    let missing = reads.iter().find(|read| {
        !read.seen.contains(&element) && read.span.from > add && read.span.until < remove
    })?;
    Some(format!(
        "element {element} is missing from a listing at {} to {}: it was there from {add} on{}",
        missing.span.from,
        missing.span.until,
        if remove == u64::MAX {
            String::new()
        } else {
            format!(" until {remove}")
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(call: SetCall, from: u64, until: u64, result: &[u64]) -> Entry<SetCall, Vec<u64>> {
        let end = End::Ok {
            at: until,
            result: result.to_vec(),
        };
        Entry {
            process: 0,
            call,
            invoked: from,
            end,
        }
    }

    fn add(element: u64, from: u64, until: u64) -> Entry<SetCall, Vec<u64>> {
        ok(SetCall::Add(element), from, until, &[])
    }

    fn remove(element: u64, from: u64, until: u64) -> Entry<SetCall, Vec<u64>> {
        ok(SetCall::Remove(element), from, until, &[])
    }

    fn read(from: u64, until: u64, seen: &[u64]) -> Entry<SetCall, Vec<u64>> {
        ok(SetCall::Read, from, until, seen)
    }

    fn unknown(call: SetCall, from: u64) -> Entry<SetCall, Vec<u64>> {
        Entry {
            process: 0,
            call,
            invoked: from,
            end: End::Unknown { at: from + 1 },
        }
    }

    #[test]
    fn right_histories_pass() {
        let histories = [
            vec![],
            vec![
                add(1, 0, 10),
                read(5, 6, &[]),
                read(7, 8, &[1]),
                read(20, 30, &[1]),
            ],
            vec![
                add(1, 0, 10),
                remove(1, 20, 30),
                read(25, 26, &[1]),
                read(27, 28, &[]),
            ],
            vec![
                unknown(SetCall::Add(1), 0),
                read(5, 6, &[]),
                read(100, 101, &[1]),
            ],
            vec![unknown(SetCall::Add(1), 0), read(5, 6, &[])],
            vec![
                add(1, 0, 1),
                unknown(SetCall::Remove(1), 5),
                read(9, 10, &[1]),
                read(11, 12, &[]),
            ],
            vec![
                add(1, 0, 10),
                remove(1, 11, 12),
                read(0, 30, &[]),
                read(0, 30, &[1]),
            ],
        ];
        for history in histories {
            assert_eq!(check_set(&history), Vec::<String>::new(), "{history:?}");
        }
    }

    #[test]
    fn wrong_histories_are_found() {
        let histories = [
            vec![read(5, 6, &[9])],
            vec![add(1, 0, 10), read(11, 12, &[])],
            vec![add(1, 10, 20), read(5, 6, &[1])],
            vec![add(1, 0, 10), remove(1, 11, 12), read(13, 14, &[1])],
            vec![add(1, 0, 100), read(5, 6, &[1]), read(7, 8, &[])],
            vec![
                add(1, 0, 1),
                remove(1, 5, 50),
                read(6, 7, &[]),
                read(8, 9, &[1]),
            ],
            vec![add(1, 0, 1), read(5, 6, &[1, 1])],
            vec![
                unknown(SetCall::Add(1), 0),
                read(5, 6, &[1]),
                read(100, 101, &[]),
            ],
            vec![
                add(1, 0, 1),
                unknown(SetCall::Remove(1), 5),
                read(6, 7, &[]),
                read(9, 10, &[1]),
            ],
        ];
        for history in histories {
            assert_eq!(check_set(&history).len(), 1, "{history:?}");
        }
    }
}
