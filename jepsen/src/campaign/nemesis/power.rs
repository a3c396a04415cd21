//! Nodes lose their power, and with it what was not synced.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions};
use crate::loop_image::loop_missing;
use crate::power::{come_back, go_dark};
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;

/// A cut of the power of a file system of a node's own.
pub(super) struct Power;

#[async_trait(?Send)]
impl Fault for Power {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.images = true;
    }

    fn missing(&self) -> Option<String> {
        loop_missing()
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        go_dark(cluster, &hit.victims)?;
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        come_back(cluster, &hit.victims)
    }
}
