//! Nodes stand still, and nobody is told.

use super::fault::{Fault, Hit};
use crate::cluster::Cluster;
use crate::freezer::freezer_missing;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::ops::Range;

/// A control group that is frozen, and thawed.
pub(super) struct Freeze;

#[async_trait(?Send)]
impl Fault for Freeze {
    fn missing(&self) -> Option<String> {
        freezer_missing()
    }

    fn lasts_ms(&self) -> Range<u64> {
        200..5_000
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            cluster.node(*id)?.freeze()?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            cluster.node(*id)?.thaw()?;
        }
        Ok(())
    }
}
