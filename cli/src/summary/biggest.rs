//! The biggest of many.

use meta_core::attr::FileKind;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::quota::Amount;
use std::cmp::{Ordering, Reverse};

/// A name in a directory, with what its file adds up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) ino: Ino,
    pub(super) kind: FileKind,
    /// A directory with all below it and itself.
    pub(super) amount: Amount,
}

impl Entry {
    /// More bytes first, then more files, then by name.
    fn order(&self, other: &Self) -> Ordering {
        let size = |entry: &Self| Reverse((entry.amount.bytes, entry.amount.inodes()));
        let by_size = size(self).cmp(&size(other));
        by_size.then_with(|| self.name.cmp(&other.name))
    }
}

/// What a file of some kind adds up to with itself: of a directory, totals tell what is below.
pub(super) fn with_itself(kind: FileKind, amount: Amount) -> Amount {
    let own = u64::from(kind == FileKind::Directory);
    Amount {
        directories: amount.directories.saturating_add(own),
        ..amount
    }
}

/// The biggest names of a directory, and the sum of all others. No more than those are held.
#[derive(Debug)]
pub(super) struct Biggest {
    entries_max: usize,
    kept: Vec<Entry>,
    others: Others,
}

/// Names that are not shown one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Others {
    pub(super) names: u64,
    pub(super) amount: Amount,
}

impl Biggest {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            kept: Vec::new(),
            others: Others::default(),
        }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        let place = |known: &Entry| known.order(&entry) == Ordering::Less;
        let place = self.kept.partition_point(place);
        self.kept.insert(place, entry);
        if self.kept.len() <= self.entries_max {
            return;
        }
        if let Some(Entry { amount, .. }) = self.kept.pop() {
            let Others { names, amount: all } = &mut self.others;
            *names += 1;
            all.files = all.files.saturating_add(amount.files);
            all.directories = all.directories.saturating_add(amount.directories);
            all.bytes = all.bytes.saturating_add(amount.bytes);
        }
    }

    /// The biggest, in order, and the others, if there are any.
    pub(super) fn end(self) -> (Vec<Entry>, Option<Others>) {
        let others = (self.others.names > 0).then_some(self.others);
        (self.kept, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, bytes: u64, files: u64) -> Entry {
        Entry {
            name: Name::new(name).expect("a name"),
            ino: Ino(7),
            kind: FileKind::Regular,
            amount: Amount {
                files,
                directories: 1,
                bytes,
            },
        }
    }

    #[test]
    fn the_biggest_are_kept_in_order_and_the_others_summed() {
        let mut biggest = Biggest::new(3);
        for (name, bytes, files) in [
            ("e", 1, 1),
            ("b", 5, 1),
            ("d", 2, 9),
            ("a", 5, 1),
            ("c", 5, 2),
        ] {
            biggest.add(entry(name, bytes, files));
        }
        let (kept, others) = biggest.end();
        let names: Vec<String> = kept.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, ["c", "a", "b"]);
        let expected = Others {
            names: 2,
            amount: Amount {
                files: 10,
                directories: 2,
                bytes: 3,
            },
        };
        assert_eq!(others, Some(expected));
        let mut all = Biggest::new(1);
        all.add(entry("a", 0, 0));
        assert_eq!(all.end().1, None);
    }

    #[test]
    fn a_directory_counts_itself() {
        let amount = Amount::default();
        assert_eq!(with_itself(FileKind::Directory, amount).directories, 1);
        assert_eq!(with_itself(FileKind::Symlink, amount), amount);
    }
}
