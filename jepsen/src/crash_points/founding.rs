//! The places that a node passes at its very first start, in the founding of its cluster, and when
//! it goes on alone after a disaster.

use super::{PATIENCE, VOLUME, all_is_there, check_end, ended_at, works};
use crate::binaries::binary;
use crate::cluster::{Cluster, ClusterOptions};
use crate::writer::{Checked, Crew};
use anyhow::{Context, Result, ensure};
use meta_client::meta_core::failpoint::Point;
use std::process::Command;
use std::time::Duration;

/// Passed by a node whose data directory is empty.
const FIRST_START: &[Point] = &[
    Point::Claimed,
    Point::StateMade,
    Point::FileWritten,
    Point::FileRenamed,
];

/// Passed by the node that is asked to found a cluster.
const FOUNDING: &[Point] = &[Point::Founded, Point::Identified];

/// Passed when a node is made the only member.
const RECOVERY: &[Point] = &[
    Point::RecoverRenewed,
    Point::RecoverVoted,
    Point::RecoverAppended,
];

/// All places of this module.
pub fn points() -> Vec<Point> {
    [FIRST_START, FOUNDING, RECOVERY].concat()
}

/// Ends a node at each of these places.
///
/// # Errors
/// When a place is not passed, or the node does not come back with all that it had.
pub async fn run(seed: u64) -> Result<Checked> {
    for point in FIRST_START.iter().chain(FOUNDING) {
        let founded = found(*point, seed).await;
        founded.with_context(|| format!("a first start with an end at {}", point.name()))?;
    }
    recover(seed).await
}

async fn found(point: Point, seed: u64) -> Result<Checked> {
    let mut cluster = Cluster::prepare(ClusterOptions::new("crash-founding", 3))?;
    cluster.node(1)?.start_failing(point, 1)?;
    for id in [2, 3] {
        cluster.node(id)?.start()?;
    }
    if FOUNDING.contains(&point) {
        // It may end at its first election after that, and before it answers.
        let asked = cluster.initialise(PATIENCE).await;
        ensure!(asked.is_err(), "the node answered after its end");
    }
    ended_at(cluster.node(1)?, point).await?;
    cluster.start_all()?;
    works(&mut cluster, seed).await
}

/// One of three is made the only member, with an end at each place; the command is then given again,
/// as its user would.
async fn recover(seed: u64) -> Result<Checked> {
    let mut cluster = Cluster::start(ClusterOptions::new("crash-recovery", 3)).await?;
    cluster.format(VOLUME).await?;
    let crew = Crew::begin(&cluster.url(VOLUME), 1, 2, seed).await?;
    crew.progress(100, PATIENCE).await?;
    let written = crew.stop(PATIENCE).await?;
    // So that the one that is left lacks nothing.
    cluster.digests_equal(PATIENCE).await?;
    for id in [2, 3] {
        cluster.forget(id)?;
    }
    for point in RECOVERY {
        cluster.node(1)?.kill()?;
        let mut command = Command::new(binary("curlew-meta-failpoints")?);
        command.env("CURLEW_FAILPOINT", point.name());
        command.arg("recover").arg("--the-others-are-lost");
        command.arg("--config").arg(cluster.node(1)?.config());
        let output = command.output().context("cannot run curlew-meta")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check_end(output.status, &said, *point)?;
        cluster.recover(1, &["--the-others-are-lost"])?;
        cluster.node(1)?.start()?;
        cluster.wait_ready(Duration::from_secs(30)).await?;
    }
    all_is_there(&mut cluster, &written).await
}
