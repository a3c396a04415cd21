//! What readers of the changelog got: every change once, in order, the same for all.
//!
//! The rules are those that etcd's robustness tests (`tests/robustness/validate/watch.go`) have for
//! watches, as far as they apply: ordered, unique, reliable, resumable, and true bookmarks. That
//! the changes of one command come together needs no rule here: a record is a whole command.

use super::verdict::Verdict;
use std::collections::BTreeMap;

/// Something that a reader did or got, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// It asked for all changes after this one, for the first time or again.
    Attach {
        /// The last change that it wants no more.
        after: u64,
    },
    /// It got a change.
    Record {
        /// The number of the change.
        seq: u64,
        /// The change.
        bytes: Vec<u8>,
    },
    /// It was told that it has all changes up to this one.
    Bookmark {
        /// The number of the change.
        seq: u64,
    },
}

/// All of one reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Who.
    pub reader: String,
    /// What it did and got.
    pub items: Vec<Item>,
}

/// What is known from elsewhere.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Expected {
    /// Changes that were acknowledged to those who made them, as far as their bytes are known.
    pub acknowledged: BTreeMap<u64, Vec<u8>>,
    /// Bytes that must be somewhere in these changes.
    pub holds: BTreeMap<u64, Vec<u8>>,
    /// The number up to which each reader must have got at the end.
    pub last_seq: Option<u64>,
}

/// Checks all readers.
pub fn check(readings: &[Reading], expected: &Expected) -> Verdict {
    let mut seen: BTreeMap<u64, (&str, &[u8])> = BTreeMap::new();
    let mut problems = Vec::new();
    for reading in readings {
        Position::new(reading, expected).follow(&mut seen, &mut problems);
    }
    for (seq, bytes) in &expected.acknowledged {
        if let Some((reader, found)) = seen.get(seq)
            && found != bytes
        {
            problems.push(format!(
                "{reader}: change {seq} is not the one acknowledged"
            ));
        }
    }
    for (seq, bytes) in &expected.holds {
        if let Some((reader, found)) = seen.get(seq)
            && !found.windows(bytes.len()).any(|window| window == bytes)
        {
            let bytes = String::from_utf8_lossy(bytes);
            problems.push(format!(
                "{reader}: change {seq} does not have {bytes} in it"
            ));
        }
    }
    if problems.is_empty() && seen.is_empty() {
        return Verdict::Unknown("nobody got a change".to_owned());
    }
    Verdict::of(problems)
}

/// Where a reader is.
struct Position<'a> {
    reading: &'a Reading,
    last_seq: Option<u64>,
    /// The number of the last change that it has or does not want; nothing before it attached.
    at: Option<u64>,
    /// The furthest that it ever got.
    furthest: u64,
}

impl<'a> Position<'a> {
    fn new(reading: &'a Reading, expected: &Expected) -> Self {
        Self {
            reading,
            last_seq: expected.last_seq,
            at: None,
            furthest: 0,
        }
    }

    fn follow(mut self, seen: &mut BTreeMap<u64, (&'a str, &'a [u8])>, problems: &mut Vec<String>) {
        let reader = &self.reading.reader;
        for item in &self.reading.items {
            let problem = match item {
                Item::Attach { after } => {
                    self.at = Some(*after);
                    None
                }
                Item::Record { seq, bytes } => {
                    let (first, found) = *seen.entry(*seq).or_insert((reader, bytes));
                    if found != bytes {
                        problems.push(format!(
                            "{reader}: change {seq} has other bytes than {first} got"
                        ));
                    }
                    self.record(*seq)
                }
                Item::Bookmark { seq } => self.bookmark(*seq),
            };
            self.furthest = self.furthest.max(self.at.unwrap_or(0));
            problems.extend(problem.map(|problem| format!("{reader}: {problem}")));
        }
        if let Some(last) = self.last_seq.filter(|last| self.furthest < *last) {
            let furthest = self.furthest;
            problems.push(format!("{reader}: stopped at change {furthest} of {last}"));
        }
    }

    fn record(&mut self, seq: u64) -> Option<String> {
        let Some(at) = self.at.replace(seq) else {
            return Some(format!("got change {seq} before it asked"));
        };
        if seq == at + 1 {
            None
        } else if seq == at {
            Some(format!("got change {seq} twice"))
        } else if seq < at {
            Some(format!("got change {seq} after change {at}"))
        } else {
            Some(format!("got change {seq} after {at}: a gap"))
        }
    }

    fn bookmark(&mut self, seq: u64) -> Option<String> {
        match self.at {
            None => Some(format!("got the bookmark {seq} before it asked")),
            Some(at) if seq != at => Some(format!(
                "was told that it has all up to {seq}, and it has {at}"
            )),
            Some(_) => None,
        }
    }
}
