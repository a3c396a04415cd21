//! Nodes whose disks fail one sync of the log.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::{Result, ensure};
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::time::Duration;

/// The longest that a node may take to find out and to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// What a node says when it stops by itself.
const STOPPED: i32 = 1;

/// One sync of the log fails with EIO. Those after it work, but the node must not try.
pub(super) struct BadDisk;

#[async_trait(?Send)]
impl Fault for BadDisk {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.disks = true;
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            cluster.node(*id)?.disk()?.fail(1)?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            let node = cluster.node(*id)?;
            // While others are down it may have nothing to write: then it goes on.
            node.disk()?.fail(0)?;
            if node.disk()?.hits()? > 0 {
                let status = node.wait(STOP_LIMIT).await?;
                ensure!(
                    status.code() == Some(STOPPED),
                    "node {id} ended with {status} after a failed sync: {}",
                    node.log_tail(20)
                );
                node.start()?;
            }
        }
        Ok(())
    }
}
