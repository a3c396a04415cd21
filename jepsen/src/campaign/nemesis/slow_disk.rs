//! Nodes whose disks take their time.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;
use std::time::Duration;

/// Each sync takes longer.
#[derive(Default)]
pub(super) struct SlowDisk {
    /// Syncs that did.
    slow: u64,
}

#[async_trait(?Send)]
impl Fault for SlowDisk {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.disks = true;
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
        for id in &hit.victims {
            let by = Duration::from_millis(rng.random_range(5..800));
            cluster.node(*id)?.disk()?.slow(by)?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            let disk = cluster.node(*id)?.disk()?;
            disk.slow(Duration::ZERO)?;
            self.slow += disk.hits()?;
        }
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        (self.slow == 0).then(|| "no sync was slow".to_owned())
    }
}
