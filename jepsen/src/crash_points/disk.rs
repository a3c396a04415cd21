//! Each write and each sync of a node's disk fails once: the node stops, and what it had
//! acknowledged is there when it is started again.
//!
//! Which calls there are is not written down here but seen: a node is watched first, and each site
//! that it passed is then made to fail. See the crate `disk-faults`.

use super::scene::Scene;
use super::{PATIENCE, works};
use crate::cluster::{Cluster, ClusterOptions, Node};
use crate::wait;
use crate::writer::Checked;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
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
        scene.purged(1).await?;
    }
    let mut sites = Vec::new();
    for site in read_sites(&trace)? {
        // Others may be passed but once, at the start.
        let again_and_again = site.ends_with(" log/slot-#");
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

/// Waits for the fault. A site fails once in the life of a node's log, so what that says is new.
async fn fault(node: &mut Node, site: &str) -> Result<()> {
    let said = format!("disk fault: {site}\n");
    wait::until("the fault", PATIENCE, async || {
        let running = node.running()?;
        if node.has_said(&said)? {
            return Ok(Ok(()));
        }
        ensure!(running, "it ended before the fault: {}", node.log_tail(20));
        Ok(Err(node.log_tail(10)))
    })
    .await
}

/// Waits for the fault, and for the node's end unless it may go on. Gives whether it stopped.
async fn stopped(node: &mut Node, site: &str) -> Result<bool> {
    fault(node, site).await?;
    if is_harmless(site) {
        return ready_or_stopped(node).await;
    }
    if site.contains(" snapshots") && refused(node, site).await? {
        return Ok(false);
    }
    let status = node.wait(STOPS).await?;
    check_stop(node, status).map(|()| true)
}

/// Whether the fault was in a snapshot that just arrived, which the node may refuse to take the next one.
/// One that it makes itself has the same sites, and must end it.
async fn refused(node: &mut Node, site: &str) -> Result<bool> {
    let fault = format!("disk fault: {site}\n");
    wait::until("a refusal or the end", STOPS, async || {
        let running = node.running()?;
        if node.has_said_after(&fault, "a snapshot is refused")? {
            return Ok(Ok(true));
        }
        Ok(if running {
            Err(node.log_tail(20))
        } else {
            Ok(false)
        })
    })
    .await
}

fn check_stop(node: &Node, status: ExitStatus) -> Result<()> {
    ensure!(
        status.code() == Some(STOPPED),
        "it ended with {status}: {}",
        node.log_tail(20)
    );
    Ok(())
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
        let stopped = stopped(cluster.node(1)?, &site).await;
        let stopped = stopped.with_context(|| format!("a fault at `{site}`"))?;
        cluster.start_all()?;
        let checked = works(&mut cluster, seed).await;
        faulted.checked = checked.with_context(|| format!("after a fault at `{site}`"))?;
        faulted.sites.push((site, stopped));
    }
    Ok(faulted)
}

/// Every site that a node passes while it is sent a snapshot, installs it, and makes the next one
/// itself. While it arrives, the node may refuse it and take another one instead of stopping.
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
        node.start_on_bad_disk(&site, 1)?;
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
    check_stop(node, status).map(|()| true)
}

fn read_sites(trace: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(trace).context("a watched node leaves a list of sites")?;
    Ok(text.lines().map(str::to_owned).collect())
}
