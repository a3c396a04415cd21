//! Nodes are stopped as an operator would do it.

use super::fault::{Fault, Hit, Reach};
use crate::cluster::Cluster;
use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::time::Duration;

/// The longest that a node may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// SIGTERM, which hands leadership over, and a new start.
pub(super) struct Restart;

#[async_trait(?Send)]
impl Fault for Restart {
    fn reach(&self) -> Reach {
        Reach::One
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        let id = hit.victim()?;
        let status = cluster.node(id)?.stop(STOP_LIMIT).await?;
        ensure!(status.success(), "node {id} did not stop cleanly: {status}");
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        cluster.node(hit.victim()?)?.start()
    }
}
