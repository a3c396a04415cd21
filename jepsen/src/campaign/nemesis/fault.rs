//! What a kind of fault must say and do.

use crate::campaign::scene::Extras;
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::ops::Range;

/// How many nodes may be hit at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::campaign) enum Reach {
    /// One.
    One,
    /// Mostly one, sometimes more than half, sometimes all.
    All,
}

/// One fault that begins.
#[derive(Clone, Debug)]
pub(in crate::campaign) struct Hit {
    /// The nodes that were chosen.
    pub(super) victims: Vec<u64>,
    /// Who leads, if that is known.
    pub(super) leader: Option<u64>,
    /// The first one of a run, which takes the leader away.
    pub(super) first: bool,
}

impl Hit {
    /// The first of the victims.
    pub(super) fn victim(&self) -> Result<u64> {
        let first = self.victims.first().copied();
        first.ok_or_else(|| anyhow::anyhow!("a fault without a node"))
    }
}

/// Nodes of a cluster whose faults do not need another number of them.
pub(in crate::campaign) const NODES: u64 = 3;

/// A kind of fault.
#[async_trait(?Send)]
pub(in crate::campaign) trait Fault {
    /// What the cluster must be started with.
    fn prepare(&self, _options: &mut ClusterOptions) {}

    /// How many nodes there are to be.
    fn nodes(&self, _rng: &mut StdRng) -> u64 {
        NODES
    }

    /// Why it cannot be done on this machine, if it cannot.
    fn missing(&self) -> Option<String> {
        None
    }

    /// Hands over what it may reach beside nodes, before its first fault.
    fn attach(&mut self, _extras: &Extras) {}

    /// Whether it is nodes that are hit.
    fn hits_nodes(&self) -> bool {
        true
    }

    /// Whether a node that is hit loses its data, which it then needs others for.
    fn takes_data(&self) -> bool {
        false
    }

    /// Whether it is between nodes: then one that is alone cannot be hurt.
    fn is_between_nodes(&self) -> bool {
        false
    }

    /// How many nodes may be hit at once.
    fn reach(&self) -> Reach {
        Reach::All
    }

    /// How long a fault lasts, in milliseconds.
    fn lasts_ms(&self) -> Range<u64> {
        200..3_000
    }

    /// Whether a leader that is hit is replaced by another.
    fn deposes(&self) -> bool {
        self.hits_nodes()
    }

    /// After a leader was replaced, how long in milliseconds the first fault lasts on.
    fn lingers_ms(&self) -> u64 {
        0
    }

    /// Begins the fault. Gives the nodes that it hits.
    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>>;

    /// Ends it, so that all nodes run and are members.
    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, rng: &mut StdRng) -> Result<()>;

    /// Why what it did is not what it is for, if it is not.
    fn gap(&self) -> Option<String> {
        None
    }
}

/// Some nodes; every second time the leader is among them.
pub(super) fn pick(
    mut ids: Vec<u64>,
    leader: Option<u64>,
    reach: Reach,
    rng: &mut StdRng,
) -> Vec<u64> {
    ids.shuffle(rng);
    if rng.random_bool(0.5) {
        ids.sort_by_key(|id| Some(*id) != leader);
    }
    let count = match (reach, rng.random_range(0..10)) {
        (Reach::All, 0) => ids.len(),
        (Reach::All, 1..3) => ids.len().div_ceil(2),
        _ => 1,
    };
    ids.truncate(count);
    ids
}

/// Why faults of a connection that is silent, cut and damaged in turn, and what they hit, are not
/// enough.
pub(super) fn in_turn(faults: u32, cuts: u64, flips: u64) -> Option<String> {
    if faults < 3 || cuts == 0 {
        return Some("the connections were hurt too little".to_owned());
    }
    (flips == 0).then(|| "nothing came damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_three_faults_must_have_hit() {
        assert_eq!(in_turn(3, 1, 1), None);
        for (faults, cuts, flips) in [(2, 1, 1), (3, 0, 1), (3, 1, 0), (0, 0, 0)] {
            assert!(in_turn(faults, cuts, flips).is_some());
        }
    }
}
