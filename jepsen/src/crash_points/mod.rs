//! Real processes end at each named place of [`Point`], come back, and nothing that was acknowledged
//! is missing.
//!
//! [`node`] is for what a node of a cluster does, [`founding`] for its first start and for its
//! recovery, [`mirror`] for two clusters, [`mount`] for a client, [`backup`] for what a client does
//! for its volume. Together they pass every place.
//! [`disk`] lets each call fail by which a node writes to its disk.

pub mod backup;
pub mod disk;
pub mod founding;
pub mod mirror;
pub mod mount;
pub mod node;
mod scene;

use crate::cluster::{Cluster, Node};
use crate::writer::{Checked, Crew, Written, check};
use anyhow::{Context, Result, anyhow, ensure};
use meta_client::meta_core::failpoint::Point;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

/// The volume that is written to.
const VOLUME: &str = "vol";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every place that these modules let a process end at.
pub fn covered() -> Vec<Point> {
    let all = [node::points(), founding::points(), mirror::points()];
    let mut points: Vec<Point> = all.into_iter().flatten().collect();
    points.extend(mount::POINTS);
    points.extend(backup::POINTS);
    points
}

/// Founds a cluster of nodes that run, and lets it work for a moment.
async fn works(cluster: &mut Cluster, seed: u64) -> Result<Checked> {
    cluster.initialise(PATIENCE).await?;
    cluster.wait_ready(PATIENCE).await?;
    cluster.format_without_trash(VOLUME).await?;
    let crew = Crew::begin(&cluster.url(VOLUME), 1, 2, seed).await?;
    crew.progress(30, PATIENCE).await?;
    let written = crew.stop(PATIENCE).await?;
    all_is_there(cluster, &written).await
}

/// Checks that the nodes agree, that all that was acknowledged is there, and, when they have stopped,
/// what is on their disks, and that nothing panicked: an end at a place is none.
async fn all_is_there(cluster: &mut Cluster, written: &[Written]) -> Result<Checked> {
    cluster.digests_equal(PATIENCE).await?;
    let checked = check(&cluster.url(VOLUME), written).await?;
    let checked = checked.map_err(|wrong| anyhow!("{wrong:?}"))?;
    cluster.check_stores(PATIENCE).await?;
    cluster.no_panics()?;
    Ok(checked)
}

/// Waits until a node has ended at `point`.
async fn ended_at(node: &mut Node, point: Point) -> Result<()> {
    let ended = node.wait(PATIENCE).await;
    let status = ended.with_context(|| format!("{} was not passed", point.name()))?;
    check_end(status, &node.log_tail(40), point)
}

/// Whether a process ended at `point`, and not in another way.
fn check_end(status: ExitStatus, log: &str, point: Point) -> Result<()> {
    const SIGABRT: i32 = 6;
    let said = log.contains(&format!("failpoint {}", point.name()));
    ensure!(
        status.signal() == Some(SIGABRT) && said,
        "not ended at {}, but with {status}: {log}",
        point.name()
    );
    Ok(())
}
