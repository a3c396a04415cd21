//! Each write and each sync of a node's disk fails once: the node stops, and what it had
//! acknowledged is there when it is started again.
//!
//! Which calls there are is not written down here but seen: a node is watched first, and each site
//! that it passed is then made to fail. See the crate `disk-faults`.

use super::PATIENCE;
use super::scene::Scene;
use crate::cluster::{Cluster, ClusterOptions, Node};
use crate::http::metric;
use crate::wait;
use crate::writer::{Checked, Crew, check};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const ASK: Duration = Duration::from_secs(2);
/// Purges that a watched node makes, so that all that it does again and again was seen.
const PURGES: u32 = 3;
/// How long a node may take to stop.
const STOPS: Duration = Duration::from_secs(20);
/// What a node says when it stops by itself.
const STOPPED: i32 = 1;

/// What the faults left.
#[derive(Clone, Debug)]
pub struct Faulted {
    /// Sites, and whether the node stopped.
    pub sites: Vec<(String, bool)>,
    /// What the writers found.
    pub checked: Checked,
}

impl Faulted {
    /// Sites at which the node stopped.
    pub fn stops(&self) -> usize {
        self.sites.iter().filter(|(_, stopped)| *stopped).count()
    }
}

/// Whether a node may go on after a fault at a site: nothing that it promised hangs on it.
fn is_harmless(site: &str) -> bool {
    // RocksDB's own diary, its note of the options that it was opened with, and a name that it gives
    // to the database and makes anew.
    let harmless = [
        "LOG",
        "LOG.old.#",
        "OPTIONS-#",
        "OPTIONS-#.dbtmp",
        "IDENTITY",
        "0.dbtmp",
    ];
    let name = site.rsplit(['/', ' ']).next().unwrap_or_default();
    harmless.contains(&name)
}

/// A cluster of one node, behind which nothing hides: all sites but those of receiving a snapshot.
///
/// # Errors
/// When a fault does not come, the node goes on after it, or something is lost.
pub async fn alone(seed: u64) -> Result<Faulted> {
    let mut scene = Scene::begin("disk-alone", 1, seed).await?;
    let trace = scene.cluster.dir().join("sites");
    scene.cluster.node(1)?.kill()?;
    scene.cluster.node(1)?.start_traced(&trace)?;
    for _ in 0..PURGES {
        purged(&mut scene).await?;
    }
    let mut sites = Vec::new();
    for site in read_sites(&trace)? {
        // Others may be passed but once, at the start.
        let again_and_again = site.ends_with(" log/#.log");
        let count = if again_and_again { scene.some(40) } else { 1 };
        let node = scene.cluster.node(1)?;
        if node.running()? {
            node.kill()?;
        }
        node.start_on_bad_disk(&site, count)?;
        let stopped = stopped(node, &site).await;
        let stopped = stopped.with_context(|| format!("a fault at `{site}`"))?;
        scene.cluster.start_all()?;
        let ready = scene.cluster.wait_ready(PATIENCE).await;
        ready.with_context(|| format!("after a fault at `{site}`"))?;
        scene.crew.progress(20, PATIENCE).await?;
        sites.push((site, stopped));
    }
    let checked = scene.end().await?;
    Ok(Faulted { sites, checked })
}

/// Waits for a purge of the log that comes after this was called.
async fn purged(scene: &mut Scene) -> Result<()> {
    let node = scene.cluster.node(1)?;
    let addr = node.metrics_addr().to_owned();
    let status = meta_client::node_status;
    let own = node.addr().to_owned();
    let last = wait::until("the node's status", PATIENCE, async || {
        let asked = status(&own, ASK).await;
        Ok(asked
            .map(|status| status.last_log_index as f64)
            .map_err(|e| e.to_string()))
    })
    .await?;
    wait::until("the log to be purged", PATIENCE, async || {
        Ok(match metric(&addr, "curlew_meta_purged_index", ASK).await {
            Ok(purged) if purged > last => Ok(()),
            other => Err(format!("purged {other:?} of {last}")),
        })
    })
    .await
}

/// Waits for the fault, and for the node's end unless it is harmless.
async fn stopped(node: &mut Node, site: &str) -> Result<bool> {
    let said = format!("disk fault: {site}\n");
    let before = node.log_count(&said)?;
    wait::until("the fault", PATIENCE, async || {
        let came = node.log_count(&said)? > before || !node.running()?;
        Ok(came.then_some(()).ok_or_else(|| node.log_tail(10)))
    })
    .await?;
    if is_harmless(site) {
        return ready_or_stopped(node).await;
    }
    let status = node.wait(STOPS).await?;
    ensure!(
        status.code() == Some(STOPPED),
        "it ended with {status}: {}",
        node.log_tail(20)
    );
    ensure!(node.log_count(&said)? > before, "it ended before the fault");
    Ok(true)
}

/// Every site that a node passes at its first start and in the founding of its cluster.
///
/// # Errors
/// As [`alone`].
pub async fn founding(seed: u64) -> Result<Faulted> {
    let options = || ClusterOptions::new("disk-founding", 1);
    let mut cluster = Cluster::prepare(options())?;
    let trace = cluster.dir().join("sites");
    cluster.node(1)?.start_traced(&trace)?;
    cluster.initialise(PATIENCE).await?;
    cluster.wait_ready(PATIENCE).await?;
    let mut faulted = Faulted {
        sites: Vec::new(),
        checked: Checked::default(),
    };
    for site in read_sites(&trace)? {
        let mut cluster = Cluster::prepare(options())?;
        cluster.node(1)?.start_on_bad_disk(&site, 1)?;
        // The fault may come in the middle of it.
        let _founded = cluster.initialise(Duration::from_secs(5)).await;
        let stopped = stopped_or_not(cluster.node(1)?, &site).await?;
        cluster.start_all()?;
        let checked = works(&mut cluster, seed).await;
        faulted.checked = checked.with_context(|| format!("after a fault at `{site}`"))?;
        faulted.sites.push((site, stopped));
    }
    Ok(faulted)
}

/// Whether a node has stopped that may have nothing more to do with its disk.
async fn stopped_or_not(node: &mut Node, site: &str) -> Result<bool> {
    if is_harmless(site) {
        return Ok(!node.running()?);
    }
    let status = node.wait(STOPS).await;
    let status = status.with_context(|| format!("a fault at `{site}`"))?;
    ensure!(
        status.code() == Some(STOPPED),
        "after a fault at `{site}` it ended with {status}: {}",
        node.log_tail(20)
    );
    Ok(true)
}

async fn works(cluster: &mut Cluster, seed: u64) -> Result<Checked> {
    cluster.initialise(PATIENCE).await?;
    cluster.wait_ready(PATIENCE).await?;
    cluster.format("vol").await?;
    let url = cluster.url("vol");
    let crew = Crew::begin(&url, 1, 2, seed).await?;
    crew.progress(30, PATIENCE).await?;
    let written = crew.stop(PATIENCE).await?;
    let checked = check(&url, &written).await?;
    let checked = checked.map_err(|wrong| anyhow!("{wrong:?}"))?;
    cluster.check_stores(PATIENCE).await?;
    Ok(checked)
}

/// Every site that a node passes while it is sent a snapshot and installs it. It may stop, or refuse
/// the snapshot and take the next one.
///
/// # Errors
/// When a fault does not come, the node does not catch up after it, or something is lost.
pub async fn catch_up(seed: u64) -> Result<Faulted> {
    let mut scene = Scene::begin("disk-catch-up", 3, seed).await?;
    let trace = scene.cluster.dir().join("sites");
    let victim = scene.one(false).await?;
    scene.leave_behind(victim).await?;
    scene.cluster.node(victim)?.start_traced(&trace)?;
    scene.cluster.wait_ready(PATIENCE).await?;
    let of_snapshots = |site: &String| site.contains("snapshots") || site.contains("state/CURRENT");
    let mut sites = Vec::new();
    for site in read_sites(&trace)?.into_iter().filter(of_snapshots) {
        let victim = scene.one(false).await?;
        scene.leave_behind(victim).await?;
        let node = scene.cluster.node(victim)?;
        let said = format!("disk fault: {site}\n");
        let before = node.log_count(&said)?;
        node.start_on_bad_disk(&site, 1)?;
        wait::until("the fault", PATIENCE, async || {
            let came = node.log_count(&said)? > before;
            Ok(came.then_some(()).ok_or_else(|| node.log_tail(10)))
        })
        .await
        .with_context(|| format!("a fault at `{site}`"))?;
        let stopped = ready_or_stopped(scene.cluster.node(victim)?).await;
        sites.push((
            site.clone(),
            stopped.with_context(|| format!("a fault at `{site}`"))?,
        ));
        scene.cluster.start_all()?;
        let ready = scene.cluster.wait_ready(PATIENCE).await;
        ready.with_context(|| format!("after a fault at `{site}`"))?;
        scene.crew.progress(20, PATIENCE).await?;
    }
    let checked = scene.end().await?;
    Ok(Faulted { sites, checked })
}

/// Whether a node stopped by itself rather than become, or stay, ready.
async fn ready_or_stopped(node: &mut Node) -> Result<bool> {
    let addr = node.metrics_addr().to_owned();
    let ended = wait::until("the node to be ready, or to stop", PATIENCE, async || {
        if !node.running()? {
            return Ok(Ok(true));
        }
        let ready = crate::http::ready(&addr, ASK).await;
        Ok(ready.map(|_| false).map_err(|why| why.to_string()))
    });
    if !ended.await? {
        return Ok(false);
    }
    let status = node.wait(PATIENCE).await?;
    if status.code() == Some(STOPPED) {
        return Ok(true);
    }
    bail!("it ended with {status}: {}", node.log_tail(20))
}

fn read_sites(trace: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(trace).context("a watched node leaves a list of sites")?;
    Ok(text.lines().map(str::to_owned).collect())
}
