//! What the search has seen: which operations are in the order so far, with the object's state.
//! The same set in two orders that lead to the same state need only be looked at once: Lowe's
//! addition to the search of Wing and Gong.

use std::collections::HashSet;
use std::hash::Hash;

/// A set of small numbers.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
        }
    }

    pub(super) fn insert(&mut self, place: usize) {
        self.words[place / 64] |= 1 << (place % 64);
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.words[place / 64] &= !(1 << (place % 64));
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.words[place / 64] & (1 << (place % 64)) != 0
    }

    /// The words without those at the front that equal `usual`, and without zeros at the back. A
    /// search works in a window of a long history: this makes its keys as long as the window.
    fn window(&self, usual: u64) -> Window {
        let skipped = self.words.iter().take_while(|word| **word == usual).count();
        let rest = &self.words[skipped..];
        let used = rest.len() - rest.iter().rev().take_while(|word| **word == 0).count();
        Window {
            skipped,
            words: rest[..used].into(),
        }
    }
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Window {
    skipped: usize,
    words: Box<[u64]>,
}

/// Places where the search has been.
#[derive(Debug)]
pub(super) struct Visited<S> {
    places: HashSet<(Window, Window, S)>,
}

impl<S: Eq + Hash> Visited<S> {
    pub(super) fn new() -> Self {
        Self {
            places: HashSet::new(),
        }
    }

    /// Whether this is new. `required` fills up from its front; `optional` may stay empty.
    pub(super) fn insert(&mut self, required: &Bits, optional: &Bits, state: S) -> bool {
        let place = (required.window(u64::MAX), optional.window(0), state);
        self.places.insert(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_apart_and_found_again() {
        let mut visited = Visited::new();
        let (mut required, mut optional) = (Bits::new(200), Bits::new(70));
        assert!(visited.insert(&required, &optional, 1));
        assert!(!visited.insert(&required, &optional, 1));
        assert!(visited.insert(&required, &optional, 2));
        for place in 0..200 {
            required.insert(place);
            assert!(required.contains(place));
            assert!(visited.insert(&required, &optional, 1), "{place}");
        }
        optional.insert(69);
        assert!(visited.insert(&required, &optional, 1));
        optional.remove(69);
        assert!(!visited.insert(&required, &optional, 1));
        required.remove(64);
        assert!(visited.insert(&required, &optional, 1));
    }
}
