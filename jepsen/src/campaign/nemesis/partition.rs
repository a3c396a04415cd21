//! The shapes of a partition.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions, Links, Way};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::ops::Range;

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

/// Ways between nodes that bring nothing.
#[derive(Default)]
pub(super) struct Partition {
    /// Partitions with the leader among more than half of the nodes.
    leader_with_most: u32,
    /// Partitions of single directions, or between some pairs only.
    uneven: u32,
}

#[async_trait(?Send)]
impl Fault for Partition {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.partitions = true;
    }

    fn lasts_ms(&self) -> Range<u64> {
        1_000..6_000
    }

    /// Those that write find the new leader some time later. Only then can somebody read at the old
    /// one what is not true any more.
    fn lingers_ms(&self) -> u64 {
        4_000
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        if hit.first {
            let links = cluster.links()?;
            links.silence(&Shape::Alone.ways(links, hit.victim()?, 0));
            return Ok(hit.victims.clone());
        }
        self.part(cluster, hit.leader, rng)
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, rng: &mut StdRng) -> Result<()> {
        cluster.links()?.heal(hit.first || rng.random_bool(0.5));
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        if self.leader_with_most == 0 {
            Some("no leader was left with most nodes".to_owned())
        } else if self.uneven == 0 {
            Some("no partition was uneven".to_owned())
        } else {
            None
        }
    }
}

impl Partition {
    /// Parts the nodes in some shape, and notes what that means for the leader.
    fn part(
        &mut self,
        cluster: &Cluster,
        leader: Option<u64>,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let mut ids = cluster.ids();
        ids.shuffle(rng);
        // A run that is short must have met these two: the leader among most nodes, and the leader
        // parted unevenly.
        let (of_leader, shapes) = if self.leader_with_most == 0 {
            (false, &Shape::ALL[..1])
        } else if self.uneven == 0 {
            (true, &Shape::ALL[1..4])
        } else {
            (rng.random_bool(0.5), &Shape::ALL[..])
        };
        ids.sort_by_key(|id| (Some(*id) == leader) != of_leader);
        let [one, two, ..] = ids.as_slice() else {
            return Ok(Vec::new());
        };
        let shape = shapes[rng.random_range(0..shapes.len())];
        let links = cluster.links()?;
        links.silence(&shape.ways(links, *one, *two));
        println!("nemesis: {shape:?} of {one}, {two}");
        let hits = match shape {
            Shape::Everybody => ids.clone(),
            _ => vec![*one],
        };
        let with_most = leader.is_some_and(|id| !hits.contains(&id));
        self.leader_with_most += u32::from(with_most);
        self.uneven += u32::from(matches!(shape, Shape::Mute | Shape::Deaf | Shape::Pair));
        Ok(hits)
    }
}
