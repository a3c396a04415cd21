//! The shapes of a partition, and what each means for the nodes.

use crate::cluster::Way;
use std::collections::BTreeSet;

/// Who is parted from whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One node from all others, in both directions.
    Alone,
    /// One node hears the others, and they do not hear it.
    Mute,
    /// The others hear one node, and it does not hear them.
    Deaf,
    /// Two nodes from each other; both reach the rest.
    Pair,
    /// All from all.
    Everybody,
    /// The fewer from the more.
    Halves,
    /// Each node reaches its neighbours in a ring, which are most, and no two reach the same.
    Ring,
    /// Two halves, which one node between them reaches both.
    Bridge,
}

impl Shape {
    const ALL: [Self; 8] = [
        Self::Alone,
        Self::Mute,
        Self::Deaf,
        Self::Pair,
        Self::Everybody,
        Self::Halves,
        Self::Ring,
        Self::Bridge,
    ];

    /// Those that say something new among so many nodes: among three, halves are one and the rest, a
    /// ring and a bridge are a pair that is parted.
    pub(super) fn among(nodes: usize) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|shape| !matches!(shape, Self::Halves | Self::Ring | Self::Bridge) || nodes >= 5)
            .collect()
    }

    /// Whether nodes are left that see each other by another node only, or in one direction.
    pub(super) fn is_uneven(self) -> bool {
        match self {
            Self::Alone | Self::Everybody | Self::Halves => false,
            Self::Mute | Self::Deaf | Self::Pair | Self::Ring | Self::Bridge => true,
        }
    }

    /// The ways that bring nothing, where `ids` are all nodes, and the first of them are those that
    /// are parted from the others.
    pub(super) fn ways(self, ids: &[u64]) -> Vec<Way> {
        let count = ids.len();
        let parted = |from: usize, to: usize| match self {
            Self::Alone => from == 0 || to == 0,
            Self::Mute => from == 0,
            Self::Deaf => to == 0,
            Self::Pair => from + to == 1,
            Self::Everybody => true,
            Self::Halves => (from < count / 2) != (to < count / 2),
            // So far from each other, in the shorter direction around the ring.
            Self::Ring => from.abs_diff(to).min(count - from.abs_diff(to)) > count / 4,
            Self::Bridge => {
                let middle = count / 2;
                from != middle && to != middle && (from < middle) != (to < middle)
            }
        };
        let numbered = || ids.iter().enumerate();
        numbered()
            .flat_map(|from| numbered().map(move |to| (from, to)))
            .filter(|((from, _), (to, _))| from != to && parted(*from, *to))
            .map(|((_, from), (_, to))| (*from, *to))
            .collect()
    }
}

/// Whether a node exchanges messages with more than half of `ids`, itself among them, when `cut` bring
/// nothing.
pub(super) fn has_most(id: u64, ids: &[u64], cut: &[Way]) -> bool {
    let cut: BTreeSet<&Way> = cut.iter().collect();
    let near = ids
        .iter()
        .filter(|other| !cut.contains(&(id, **other)) && !cut.contains(&(**other, id)));
    near.count() * 2 > ids.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: [u64; 5] = [4, 2, 5, 1, 3];

    /// Whom a node exchanges messages with, among five.
    fn near(shape: Shape, id: u64) -> Vec<u64> {
        let cut = shape.ways(&FIVE);
        let both = |other: &u64| !cut.contains(&(id, *other)) && !cut.contains(&(*other, id));
        FIVE.into_iter().filter(both).collect()
    }

    #[test]
    fn in_a_ring_each_sees_most_and_no_two_the_same() {
        let seen: BTreeSet<Vec<u64>> = FIVE.map(|id| near(Shape::Ring, id)).into();
        assert_eq!(seen.len(), FIVE.len());
        assert!(seen.iter().all(|near| near.len() == 3), "{seen:?}");
    }

    #[test]
    fn a_bridge_is_the_only_way_between_two_halves() {
        assert_eq!(near(Shape::Bridge, 5), FIVE);
        for id in [4, 2] {
            assert_eq!(near(Shape::Bridge, id), [4, 2, 5]);
        }
        for id in [1, 3] {
            assert_eq!(near(Shape::Bridge, id), [5, 1, 3]);
        }
    }

    #[test]
    fn one_half_has_most() {
        let cut = Shape::Halves.ways(&FIVE);
        let most = FIVE.map(|id| has_most(id, &FIVE, &cut));
        assert_eq!(most, [false, false, true, true, true]);
    }

    #[test]
    fn one_direction_is_no_exchange() {
        for shape in [Shape::Mute, Shape::Deaf, Shape::Alone] {
            let cut = shape.ways(&FIVE);
            assert_eq!(cut.len(), if shape == Shape::Alone { 8 } else { 4 });
            assert!(!has_most(4, &FIVE, &cut) && has_most(2, &FIVE, &cut));
        }
        assert_eq!(Shape::Everybody.ways(&FIVE).len(), 20);
        assert_eq!(Shape::Pair.ways(&FIVE), [(4, 2), (2, 4)]);
    }

    #[test]
    fn three_nodes_know_five_shapes() {
        assert_eq!(Shape::among(3).len(), 5);
        assert_eq!(Shape::among(5).len(), 8);
    }
}
