//! Nodes whose clocks jump.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;

/// So wrong that everybody sees it.
const HOUR_MS: i64 = 3_600_000;

/// Clocks that jump, and jump back. They can be had in the build for tests only.
pub(super) struct Clock;

#[async_trait(?Send)]
impl Fault for Clock {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.clocks = true;
    }

    fn lasts_ms(&self) -> Range<u64> {
        200..5_000
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            // From what nobody minds to what is worse than any time zone.
            let most = if hit.first {
                HOUR_MS
            } else {
                10_i64.pow(rng.random_range(2..8))
            };
            let off = if hit.first {
                most
            } else {
                rng.random_range(-most..=most)
            };
            println!("nemesis: the clock of {id} is off by {off} ms");
            cluster.node(*id)?.set_clock(off)?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            cluster.node(*id)?.set_clock(0)?;
        }
        Ok(())
    }
}
