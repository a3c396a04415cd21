//! A cluster of the previous build, whose nodes are upgraded one after the other while it serves.

use super::fault::{Fault, Hit, Reach};
use crate::binaries::{Build, previous};
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::time::Duration;

/// The longest that a node may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// SIGTERM, and a start from this build; a node that has it already is just started again.
#[derive(Default)]
pub(super) struct Upgrade {
    /// Nodes that got another program.
    upgraded: u32,
}

#[async_trait(?Send)]
impl Fault for Upgrade {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.build = Build::Previous;
    }

    fn missing(&self) -> Option<String> {
        match previous("curlew-meta") {
            Ok(Some(_there)) => None,
            Ok(None) => Some("the history does not reach back to a previous build".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        }
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
        let status = cluster.node(id)?.stop(STOP_LIMIT).await?;
        ensure!(status.success(), "node {id} did not stop cleanly: {status}");
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let node = cluster.node(hit.victim()?)?;
        self.upgraded += u32::from(node.build() == Build::Previous);
        node.set_build(Build::This);
        node.start()
    }

    fn gap(&self) -> Option<String> {
        (self.upgraded < 2).then(|| format!("{} nodes were upgraded", self.upgraded))
    }
}
