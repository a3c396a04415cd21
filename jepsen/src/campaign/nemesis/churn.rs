//! Nodes leave for good, and come anew.

use super::fault::{Fault, Hit, Reach};
use super::wipe::administer;
use crate::cluster::Cluster;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;

/// A member is taken out while it runs, also the leader, loses its disk, and joins as one that was
/// never there.
pub(super) struct Churn;

#[async_trait(?Send)]
impl Fault for Churn {
    fn takes_data(&self) -> bool {
        true
    }

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
        administer(cluster, "leave", id).await?;
        let node = cluster.node(id)?;
        node.kill()?;
        node.wipe()?;
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let id = hit.victim()?;
        cluster.comes_anew(id)?;
        cluster.node(id)?.start()?;
        administer(cluster, "join", id).await
    }
}
