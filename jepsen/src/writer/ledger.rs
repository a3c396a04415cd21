//! What a writer was told, kept apart from what the engine says later.

use meta_client::meta_core::ids::{Ino, SliceId};
use std::collections::{BTreeMap, BTreeSet};

/// Data that was acknowledged as appended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Appended {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
    /// Its slice.
    pub id: SliceId,
}

/// One writer's acknowledgements. Everything it names lies in the writer's own directory, so that
/// nobody else can change it.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    /// Names that are there.
    pub names: BTreeMap<String, Ino>,
    /// Names of operations with an unknown end: there or not, both is right.
    pub unknown: BTreeSet<String>,
    /// Appends, in the order of their acknowledgement.
    pub appended: Vec<Appended>,
    /// Slices of appends with an unknown end.
    pub appended_unknown: BTreeSet<SliceId>,
    /// Answers that no right engine gives.
    pub violations: Vec<String>,
    /// Operations acknowledged.
    pub acknowledged: u64,
}

impl Ledger {
    /// Whether the end of every operation is known, so that counts can be foretold.
    pub fn certain(&self) -> bool {
        self.unknown.is_empty() && self.appended_unknown.is_empty()
    }

    /// How many names a file has.
    pub fn links(&self, ino: Ino) -> u32 {
        let count = self.names.values().filter(|other| **other == ino).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Compares with what a directory holds now.
    pub fn check_names(&self, found: &[(String, Ino)]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = BTreeMap::new();
        for (name, ino) in found {
            if seen.insert(name.clone(), *ino).is_some() {
                problems.push(format!("{name} is listed twice"));
            }
        }
        for (name, ino) in &self.names {
            match seen.get(name) {
                Some(there) if there == ino => {}
                Some(there) => problems.push(format!("{name} is inode {there}, not {ino}")),
                None if self.unknown.contains(name) => {}
                None => problems.push(format!("{name} was acknowledged and is missing")),
            }
        }
        for name in seen.keys() {
            if !self.names.contains_key(name) && !self.unknown.contains(name) {
                problems.push(format!("{name} is there, but was removed or never made"));
            }
        }
        problems
    }

    /// Compares with the slices that the append file has now.
    pub fn check_appended(&self, found: &[Appended], length: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let mut sorted = found.to_vec();
        sorted.sort();
        let mut end = 0;
        let mut ids = BTreeSet::new();
        for slice in &sorted {
            if slice.offset != end {
                problems.push(format!(
                    "slice {} is at {}, not at {end}",
                    slice.id, slice.offset
                ));
            }
            end = slice.offset + u64::from(slice.len);
            if !ids.insert(slice.id) {
                problems.push(format!("slice {} was appended twice", slice.id));
            }
        }
        if end != length {
            problems.push(format!("the slices end at {end}, the file at {length}"));
        }
        let acknowledged: BTreeSet<Appended> = self.appended.iter().copied().collect();
        let there: BTreeSet<Appended> = sorted.into_iter().collect();
        for lost in acknowledged.difference(&there) {
            problems.push(format!("{lost:?} was acknowledged and is missing"));
        }
        for extra in there.difference(&acknowledged) {
            if !self.appended_unknown.contains(&extra.id) {
                problems.push(format!("{extra:?} is there and was never acknowledged"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(offset: u64, len: u32, id: u64) -> Appended {
        Appended {
            offset,
            len,
            id: SliceId(id),
        }
    }

    #[test]
    fn a_lost_a_changed_and_a_surplus_name_are_found() {
        let mut ledger = Ledger::default();
        ledger.names.insert("a".to_owned(), Ino(7));
        ledger.names.insert("b".to_owned(), Ino(8));
        let right = [("a".to_owned(), Ino(7)), ("b".to_owned(), Ino(8))];
        assert_eq!(ledger.check_names(&right), Vec::<String>::new());
        for wrong in [
            vec![("a".to_owned(), Ino(7))],
            vec![("a".to_owned(), Ino(7)), ("b".to_owned(), Ino(9))],
            vec![
                ("a".to_owned(), Ino(7)),
                ("b".to_owned(), Ino(8)),
                ("c".to_owned(), Ino(9)),
            ],
            vec![
                ("a".to_owned(), Ino(7)),
                ("b".to_owned(), Ino(8)),
                ("b".to_owned(), Ino(8)),
            ],
        ] {
            assert_eq!(ledger.check_names(&wrong).len(), 1, "{wrong:?}");
        }
        ledger.unknown.insert("b".to_owned());
        ledger.unknown.insert("c".to_owned());
        assert!(ledger.check_names(&[("a".to_owned(), Ino(7))]).is_empty());
    }

    #[test]
    fn a_lost_a_doubled_and_a_surplus_append_are_found() {
        let appended = vec![slice(0, 10, 1), slice(10, 5, 2)];
        let mut ledger = Ledger {
            appended,
            ..Ledger::default()
        };
        assert!(
            ledger
                .check_appended(&[slice(10, 5, 2), slice(0, 10, 1)], 15)
                .is_empty()
        );
        assert!(!ledger.check_appended(&[slice(0, 10, 1)], 10).is_empty());
        let doubled = [slice(0, 10, 1), slice(10, 5, 2), slice(15, 5, 2)];
        assert!(!ledger.check_appended(&doubled, 20).is_empty());
        let surplus = [slice(0, 10, 1), slice(10, 5, 2), slice(15, 5, 3)];
        assert!(!ledger.check_appended(&surplus, 20).is_empty());
        ledger.appended_unknown.insert(SliceId(3));
        assert!(ledger.check_appended(&surplus, 20).is_empty());
    }
}
