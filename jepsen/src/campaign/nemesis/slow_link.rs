//! Ways between nodes that take their time.

use super::fault::{Fault, Hit};
use super::ways;
use crate::cluster::{Cluster, ClusterOptions, Pace};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;
use std::time::Duration;

/// The limits of what a piece takes, in milliseconds: what everybody waits for, and what nobody does.
const SHORT_MS: Range<f64> = 1.0..80.0;
const LONG_MS: Range<f64> = 80.0..2_500.0;

/// Ways that are slow, in turns a little and very much.
#[derive(Default)]
pub(super) struct SlowLink {
    faults: u32,
    /// Packets or pieces that were slow, as the links of the last cluster count them.
    slowed: u64,
}

#[async_trait(?Send)]
impl Fault for SlowLink {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.partitions = true;
    }

    fn is_between_nodes(&self) -> bool {
        true
    }

    fn lasts_ms(&self) -> Range<u64> {
        1_000..5_000
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
        let limits = [SHORT_MS, LONG_MS][usize::from(self.faults % 2 == 1)].clone();
        // As many between 1 and 10 as between 10 and 100.
        let millis = rng.random_range(limits.start.ln()..limits.end.ln()).exp();
        let by = Duration::from_secs_f64(millis / 1_000.0);
        println!("nemesis: {by:.1?} on the ways {ways:?}");
        let seed = rng.random();
        links.slow(&ways, Pace { by, seed })?;
        self.faults += 1;
        Ok(nodes)
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, rng: &mut StdRng) -> Result<()> {
        let links = cluster.links()?;
        links.heal(!hit.first && rng.random_bool(0.3))?;
        self.slowed = self.slowed.max(links.slowed()?);
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        if self.faults < 2 {
            Some("no way was very slow".to_owned())
        } else {
            (self.slowed == 0).then(|| "nothing went a slow way".to_owned())
        }
    }
}
