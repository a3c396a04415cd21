//! Nodes end at once.

use super::fault::{Fault, Hit};
use crate::cluster::Cluster;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;

/// SIGKILL, and a new start.
pub(super) struct Kill;

#[async_trait(?Send)]
impl Fault for Kill {
    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            cluster.node(*id)?.kill()?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            cluster.node(*id)?.start()?;
        }
        Ok(())
    }
}
