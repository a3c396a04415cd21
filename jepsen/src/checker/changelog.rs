//! What readers of the changelog got: every change once, in order, the same for all.
//!
//! The rules are those that etcd's robustness tests (`tests/robustness/validate/watch.go`) have for
//! watches, as far as they apply: ordered, unique, reliable, resumable, and true bookmarks. That
//! the changes of one command come together needs no rule here: a record is a whole command.

use super::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Bytes that must be somewhere in these changes, which were acknowledged too.
    pub holds: BTreeMap<u64, Vec<u8>>,
    /// The number up to which each reader must have got at the end. One that began with the first
    /// change then has all that were acknowledged.
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
    if expected.last_seq.is_some() {
        let known = expected.acknowledged.keys().chain(expected.holds.keys());
        let unseen: BTreeSet<&u64> = known.filter(|seq| !seen.contains_key(*seq)).collect();
        for seq in unseen {
            problems.push(format!("change {seq} was acknowledged, and nobody got it"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seq: u64) -> Vec<u8> {
        format!("<{seq}>").into_bytes()
    }

    fn reading(seqs: &[u64]) -> Reading {
        let after = seqs.first().map_or(0, |first| first - 1);
        let records = seqs.iter().map(|seq| Item::Record {
            seq: *seq,
            bytes: bytes(*seq),
        });
        Reading {
            reader: "r".to_owned(),
            items: std::iter::once(Item::Attach { after })
                .chain(records)
                .collect(),
        }
    }

    fn holding(seqs: &[u64], last_seq: Option<u64>) -> Expected {
        Expected {
            holds: seqs.iter().map(|seq| (*seq, bytes(*seq))).collect(),
            last_seq,
            ..Expected::default()
        }
    }

    fn problems(readings: &[Reading], expected: &Expected) -> Vec<String> {
        match check(readings, expected) {
            Verdict::Violation(violation) => violation.problems,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_was_acknowledged_is_in_its_change() {
        let all = [reading(&[1, 2, 3]), reading(&[2, 3])];
        assert_eq!(check(&all, &holding(&[1, 3], Some(3))), Verdict::Ok);
        let mut other = holding(&[1, 3], Some(3));
        other.holds.insert(2, b"<3>".to_vec());
        let found = problems(&all, &other);
        assert_eq!(found, ["r: change 2 does not have <3> in it"]);
    }

    #[test]
    fn an_acknowledged_change_that_nobody_got_is_missing() {
        let late = [reading(&[3, 4])];
        let found = problems(&late, &holding(&[2, 4], Some(4)));
        assert_eq!(found, ["change 2 was acknowledged, and nobody got it"]);
        let short = [reading(&[1, 2])];
        let found = problems(&short, &holding(&[3], Some(2)));
        assert_eq!(found, ["change 3 was acknowledged, and nobody got it"]);
        // Nobody was asked to read to the end.
        assert_eq!(check(&short, &holding(&[3], None)), Verdict::Ok);
    }

    #[test]
    fn a_reader_that_stops_early_or_leaves_a_gap_is_found() {
        let found = problems(&[reading(&[1, 2])], &holding(&[], Some(3)));
        assert_eq!(found, ["r: stopped at change 2 of 3"]);
        let found = problems(&[reading(&[1, 3])], &holding(&[], Some(3)));
        assert_eq!(found, ["r: got change 3 after 1: a gap"]);
    }
}
