//! Ways between nodes that lose some of what they bring.

use super::fault::{Fault, Hit};
use super::ways;
use crate::cluster::{self, Cluster, ClusterOptions};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;

/// The share of packets that is lost.
const SHARES: Range<f64> = 0.05..0.4;

/// Ways that lose packets, or the connections that would have lost one.
#[derive(Default)]
pub(super) struct Loss {
    /// What was lost, as the links of the last cluster count it.
    lost: u64,
}

#[async_trait(?Send)]
impl Fault for Loss {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.partitions = true;
    }

    fn is_between_nodes(&self) -> bool {
        true
    }

    fn lasts_ms(&self) -> Range<u64> {
        1_000..6_000
    }

    fn deposes(&self) -> bool {
        false
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let links = cluster.links()?;
        let (ways, nodes) = ways::some(&links.ways(), hit, rng);
        let share = rng.random_range(SHARES);
        println!("nemesis: a share of {share:.2} is lost on the ways {ways:?}");
        let seed = rng.random();
        links.lossy(&ways, cluster::Loss { share, seed })?;
        Ok(nodes)
    }

    async fn heal(&mut self, cluster: &mut Cluster, _hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let links = cluster.links()?;
        links.heal(false)?;
        self.lost = self.lost.max(links.lost()?);
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        (self.lost == 0).then(|| "nothing was lost".to_owned())
    }
}
