//! Nodes whose disks fill up.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, ClusterOptions, Node};
use crate::http::metric;
use crate::loop_image::loop_missing;
use crate::wait;
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::ops::Range;
use std::time::Duration;

/// Free bytes under which a node refuses to grow.
const RESERVE: u64 = 16 << 20;

/// How long a node may take to see its room, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one question to it may take.
const ASK: Duration = Duration::from_secs(2);

/// Somebody else takes a node's space, up to some of its reserve, or all of it.
#[derive(Default)]
pub(super) struct FullDisk {
    /// Times that a node had less than its reserve and ran on.
    refusing: u32,
    /// Times that a node stopped because it could not write.
    stopped: u32,
}

/// Waits until a node sees that it has room again, or has ended: what it wrote last may have failed
/// before. Says whether it runs.
async fn sees_room(node: &mut Node) -> Result<bool> {
    let metrics = node.metrics_addr().to_owned();
    wait::until("a node to see its room, or to end", PATIENCE, async || {
        let free = metric(&metrics, "curlew_meta_free_bytes", ASK).await;
        if !node.running()? {
            return Ok(Ok(false));
        }
        Ok(match free {
            Ok(free) if free >= RESERVE as f64 => Ok(true),
            other => Err(format!("{other:?} bytes are free")),
        })
    })
    .await
}

#[async_trait(?Send)]
impl Fault for FullDisk {
    fn prepare(&self, options: &mut ClusterOptions) {
        options.images = true;
        options.reserve_bytes = RESERVE;
    }

    fn missing(&self) -> Option<String> {
        loop_missing()
    }

    fn lasts_ms(&self) -> Range<u64> {
        1_000..4_000
    }

    fn deposes(&self) -> bool {
        false
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            // The first time there is enough left for what a leader must write.
            let left = match rng.random_range(0..3) {
                _ if hit.first => RESERVE / 2,
                0 => 0,
                _ => rng.random_range(0..RESERVE),
            };
            cluster.image(*id)?.fill(left)?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            cluster.image(*id)?.make_room()?;
        }
        for id in &hit.victims {
            let node = cluster.node(*id)?;
            // One that still runs when it has room again may be about to stop.
            if sees_room(node).await? {
                self.refusing += 1;
            } else {
                let stopped = node.stops(PATIENCE).await;
                stopped.context("on a full disk")?;
                self.stopped += 1;
                node.start()?;
            }
        }
        println!(
            "nemesis: {} times a node went on, {} times it stopped",
            self.refusing, self.stopped
        );
        Ok(())
    }

    fn gap(&self) -> Option<String> {
        (self.refusing == 0).then(|| "no node ran on with too little room".to_owned())
    }
}
