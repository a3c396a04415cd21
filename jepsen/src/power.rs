//! The power is cut at random moments under writers: at one node, and every fifth time at all at
//! once. Nothing that was acknowledged may be lost, and the nodes must come back by themselves.

use crate::cluster::{Agreement, Cluster, ClusterOptions};
use crate::writer::{Checked, Crew, check};
use anyhow::{Context, Result, anyhow};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

const NODES: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers between two cuts.
const PROGRESS: u64 = 30;

/// What the cuts left.
#[derive(Debug)]
pub struct PowerReport {
    /// Cuts of one node's power.
    pub alone: u32,
    /// Cuts of all nodes' power at once.
    pub all: u32,
    /// What the writers found.
    pub checked: Checked,
    /// Of the copies.
    pub agreement: Agreement,
}

/// Cuts the power so many times, and then checks everything. Needs what
/// [`crate::loop_image::loop_missing`] looks for.
///
/// # Errors
/// When something acknowledged is lost, a node ends or panics for another reason or does not come
/// back, or copies differ.
pub async fn cut(cycles: u32, seed: u64) -> Result<PowerReport> {
    let mut rng = StdRng::seed_from_u64(seed);
    let options = ClusterOptions {
        images: true,
        snapshot_entries: Some(2_000),
        keep_entries: Some(500),
        log_file_bytes: Some(64 << 10),
        ..ClusterOptions::new("power", NODES)
    };
    let mut cluster = Cluster::start(options).await?;
    cluster.format("vol").await?;
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 2, 6, seed).await?;
    let (mut alone, mut all) = (0, 0);
    for cycle in 0..cycles {
        crew.progress(PROGRESS, PATIENCE).await?;
        // Somewhere in the middle of what they do.
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..200_000))).await;
        let mut victims = cluster.ids();
        victims.shuffle(&mut rng);
        if cycle % 5 == 4 {
            all += 1;
        } else {
            alone += 1;
            victims.truncate(1);
        }
        let cycled = cycle_power(&mut cluster, &victims).await;
        cycled.with_context(|| format!("cycle {cycle}, nodes {victims:?}"))?;
    }
    let written = crew.stop(PATIENCE).await?;
    let agreement = cluster.digests_equal(PATIENCE).await?;
    let checked = check(&url, &written).await?;
    let checked = checked.map_err(|wrong| anyhow!("{wrong:?}"))?;
    cluster.check_stores(PATIENCE).await?;
    cluster.no_panics()?;
    Ok(PowerReport {
        alone,
        all,
        checked,
        agreement,
    })
}

async fn cycle_power(cluster: &mut Cluster, victims: &[u64]) -> Result<()> {
    go_dark(cluster, victims)?;
    come_back(cluster, victims)?;
    cluster.wait_ready(PATIENCE).await?;
    // One that ran on would be forgotten with the next cut.
    cluster.no_panics()
}

/// Cuts the power of nodes, all of which run.
pub(crate) fn go_dark(cluster: &mut Cluster, victims: &[u64]) -> Result<()> {
    for id in victims {
        // What ended one before was not the cut.
        cluster.node(*id)?.must_run()?;
    }
    for id in victims {
        cluster.image(*id)?.cut()?;
    }
    for id in victims {
        // It may have seen the first error and stopped by itself.
        cluster.node(*id)?.kill_or_stopped()?;
    }
    Ok(())
}

/// Nodes have power again, and start.
pub(crate) fn come_back(cluster: &mut Cluster, victims: &[u64]) -> Result<()> {
    for id in victims {
        cluster.image(*id)?.restore()?;
        cluster.node(*id)?.start()?;
    }
    Ok(())
}
