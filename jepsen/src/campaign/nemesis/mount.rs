//! Mounts whose process ends at once.

use super::fault::{Fault, Hit};
use crate::campaign::mounts::Mounts;
use crate::campaign::scene::Extras;
use crate::cluster::Cluster;
use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::Arc;

/// SIGKILL of a mount, and a new one in its place.
#[derive(Default)]
pub(super) struct MountKill {
    mounts: Option<Arc<Mounts>>,
    victim: usize,
}

impl MountKill {
    fn mounts(&self) -> Result<&Arc<Mounts>> {
        self.mounts.as_ref().context("this workload has no mounts")
    }
}

#[async_trait(?Send)]
impl Fault for MountKill {
    fn attach(&mut self, extras: &Extras) {
        self.mounts = extras.mounts.clone();
    }

    fn hits_nodes(&self) -> bool {
        false
    }

    async fn hurt(
        &mut self,
        _cluster: &mut Cluster,
        _hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        self.victim = rng.random_range(0..self.mounts()?.count());
        println!("nemesis: mount {}", self.victim);
        self.mounts()?.kill(self.victim).await?;
        Ok(Vec::new())
    }

    async fn heal(&mut self, _cluster: &mut Cluster, _hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        self.mounts()?.begin(self.victim).await
    }
}
