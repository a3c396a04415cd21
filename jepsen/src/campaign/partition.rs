//! The shapes of a partition.

use super::nemesis::NemesisReport;
use crate::cluster::{Cluster, Links, Way};
use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::time::Duration;

/// Who is parted from whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
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
}

impl Shape {
    const ALL: [Self; 5] = [
        Self::Alone,
        Self::Mute,
        Self::Deaf,
        Self::Pair,
        Self::Everybody,
    ];

    /// The ways that bring nothing, where `one` is the node that is parted and `two` another.
    fn ways(self, links: &Links, one: u64, two: u64) -> Vec<Way> {
        let mut ways = links.ways();
        ways.retain(|(from, to)| match self {
            Self::Alone => *from == one || *to == one,
            Self::Mute => *from == one,
            Self::Deaf => *to == one,
            Self::Pair => [*from, *to] == [one, two] || [*from, *to] == [two, one],
            Self::Everybody => true,
        });
        ways
    }
}

/// All ways from and to a node.
pub(super) fn around(links: &Links, id: u64) -> Vec<Way> {
    Shape::Alone.ways(links, id, id)
}

/// Parts the nodes in some shape, and notes what that means for the leader.
pub(super) async fn part(
    cluster: &mut Cluster,
    rng: &mut StdRng,
    report: &mut NemesisReport,
) -> Result<()> {
    // A cluster that is still electing may have no leader: then the nodes are random.
    let leader = cluster.leader(Duration::from_secs(3)).await.ok();
    let mut ids = cluster.ids();
    ids.shuffle(rng);
    // A run that is short must have met these two: the leader among most nodes, and the leader
    // parted unevenly.
    let (of_leader, shapes) = match report {
        _ if report.leader_with_most == 0 => (false, &Shape::ALL[..1]),
        _ if report.uneven == 0 => (true, &Shape::ALL[1..4]),
        _ => (rng.random_bool(0.5), &Shape::ALL[..]),
    };
    ids.sort_by_key(|id| (Some(*id) == leader) != of_leader);
    let [one, two, ..] = ids.as_slice() else {
        return Ok(());
    };
    let shape = shapes[rng.random_range(0..shapes.len())];
    let links = cluster.links()?;
    links.silence(&shape.ways(links, *one, *two));
    println!("nemesis: Partition {shape:?} of {one}, {two} (leader {leader:?})");
    let hits_leader = leader == Some(*one) || shape == Shape::Everybody;
    report.faults += 1;
    report.leader_hits += u32::from(leader.is_some() && hits_leader);
    report.majority_hits += u32::from(shape == Shape::Everybody);
    report.leader_with_most += u32::from(leader.is_some() && !hits_leader);
    report.uneven += u32::from(matches!(shape, Shape::Mute | Shape::Deaf | Shape::Pair));
    Ok(())
}
