//! Nodes whose disks fail one sync of the log.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::time::Duration;

/// The longest that a node may take to find out and to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One sync of the log fails with EIO. Those after it work, but the node must not try.
#[derive(Default)]
pub(super) struct BadDisk {
    /// Nodes of which a sync failed.
    failed: u32,
}

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
                let stopped = node.stops(STOP_LIMIT).await;
                stopped.context("after a failed sync")?;
                self.failed += 1;
                node.start()?;
            }
        }
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        (self.failed == 0).then(|| "no sync failed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_that_failed_nothing_are_a_gap() {
        assert!(BadDisk::default().gap().is_some());
        assert_eq!(BadDisk { failed: 1 }.gap(), None);
    }
}
