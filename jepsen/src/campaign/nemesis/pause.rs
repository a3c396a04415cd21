//! Nodes stand still.

use super::fault::{Fault, Hit};
use crate::cluster::Cluster;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::ops::Range;

/// SIGSTOP, and SIGCONT.
pub(super) struct Pause;

#[async_trait(?Send)]
impl Fault for Pause {
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
            cluster.node(*id)?.pause()?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            cluster.node(*id)?.resume()?;
        }
        Ok(())
    }
}
