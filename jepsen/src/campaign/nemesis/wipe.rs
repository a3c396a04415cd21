//! Nodes lose their disks.

use super::fault::{Fault, Hit, Reach};
use crate::cluster::Cluster;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::time::{Duration, Instant};

/// How long a node may take to be a member again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node loses its disk, and is taken out and in again.
pub(super) struct Wipe;

#[async_trait(?Send)]
impl Fault for Wipe {
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
        let node = cluster.node(hit.victim()?)?;
        node.kill()?;
        node.wipe()?;
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        let id = hit.victim()?;
        cluster.node(id)?.start()?;
        administer(cluster, "replace", id).await
    }
}

/// Runs a command on members until it succeeds. They are safe to repeat, and an election may stop
/// one.
pub(super) async fn administer(cluster: &mut Cluster, command: &str, id: u64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match cluster.administer(command, id) {
            Ok(_said) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_again) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
