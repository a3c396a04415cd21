//! Ways between nodes that bring nothing.

use super::fault::{Fault, Hit};
use super::shape::{Shape, has_most};
use crate::cluster::{Cluster, ClusterOptions, Way};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::ops::Range;

/// Partitions of all shapes, among three or five nodes.
#[derive(Default)]
pub(super) struct Partition {
    /// Partitions with the leader among no more than half of the nodes.
    leader_with_few: u32,
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

    fn is_between_nodes(&self) -> bool {
        true
    }

    fn nodes(&self, rng: &mut StdRng) -> u64 {
        [3, 5][usize::from(rng.random_bool(0.5))]
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
        let mut ids = cluster.ids();
        ids.shuffle(rng);
        let shape = if hit.first {
            let victim = hit.victim()?;
            ids.sort_by_key(|id| *id != victim);
            Shape::Alone
        } else {
            self.plan(&mut ids, hit.leader, rng)
        };
        let cut = shape.ways(&ids);
        println!("nemesis: {shape:?} of {ids:?}");
        self.note(shape, &ids, &cut, hit.leader);
        cluster.links()?.silence(&cut)?;
        let (one, others) = (ids.first(), ids.iter().skip(1));
        let without = others.filter(|id| !has_most(**id, &ids, &cut));
        Ok(one.into_iter().chain(without).copied().collect())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, rng: &mut StdRng) -> Result<()> {
        cluster.links()?.heal(hit.first || rng.random_bool(0.5))
    }

    fn gap(&self) -> Option<String> {
        if self.leader_with_few == 0 {
            Some("no leader was left with few nodes".to_owned())
        } else if self.leader_with_most == 0 {
            Some("no leader was left with most nodes".to_owned())
        } else if self.uneven == 0 {
            Some("no partition was uneven".to_owned())
        } else {
            None
        }
    }
}

impl Partition {
    /// A shape, with the nodes in the order in which it takes them.
    fn plan(&self, ids: &mut [u64], leader: Option<u64>, rng: &mut StdRng) -> Shape {
        let mut shapes = Shape::among(ids.len());
        // A run that is short must have met these two: the leader among most nodes, and the leader
        // parted unevenly.
        let of_leader = if self.leader_with_most == 0 {
            shapes.retain(|shape| matches!(shape, Shape::Alone | Shape::Halves));
            false
        } else if self.uneven == 0 {
            shapes.retain(|shape| shape.is_uneven());
            true
        } else {
            rng.random_bool(0.5)
        };
        let shape = shapes[rng.random_range(0..shapes.len())];
        ids.sort_by_key(|id| (Some(*id) == leader) != of_leader);
        if shape == Shape::Bridge {
            // The leader may be the one between the halves too.
            let (middle, other) = (ids.len() / 2, rng.random_range(0..ids.len()));
            ids.swap(middle, other);
        }
        shape
    }

    /// Notes what a partition means for the leader.
    fn note(&mut self, shape: Shape, ids: &[u64], cut: &[Way], leader: Option<u64>) {
        if let Some(leader) = leader {
            let most = has_most(leader, ids, cut);
            self.leader_with_most += u32::from(most);
            self.leader_with_few += u32::from(!most);
        }
        self.uneven += u32::from(shape.is_uneven());
    }
}
