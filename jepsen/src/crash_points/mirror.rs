//! The places that two clusters pass, an origin and its mirror. Each has one node: what a leader's
//! end does to the rest of its cluster is seen elsewhere.

use super::{PATIENCE, ended_at};
use crate::cluster::Cluster;
use crate::pair::Pair;
use crate::writer::{Checked, Crew, check};
use anyhow::{Context, Result, anyhow, ensure};
use meta_client::meta_core::failpoint::Point;

/// Passed by the mirror while it takes in the origin's rows, in this order.
const LOADING: &[Point] = &[Point::MirrorLoad, Point::MirrorPage, Point::MirrorLoaded];

/// Passed by the mirror while it follows.
const FOLLOWING: &[Point] = &[Point::MirrorApply, Point::MirrorApplied];

/// All places of this module.
pub fn points() -> Vec<Point> {
    let origin = [Point::LoadSend, Point::ChangelogSend, Point::MarkKept];
    [LOADING, FOLLOWING, &origin[..]].concat()
}

/// Ends a node of either side at each of these places, under writers.
///
/// # Errors
/// When a place is not passed, or the two sides do not come to agree.
pub async fn run(seed: u64) -> Result<Checked> {
    let mut pair = Pair::start("crash-mirror", 1, 1).await?;
    let url = pair.origin_url();
    let crew = Crew::begin(&url, 1, 3, seed).await?;
    crew.progress(200, PATIENCE).await?;
    load(&mut pair).await?;
    for point in FOLLOWING {
        arm(&mut pair.mirror, *point).await?;
        crew.progress(50, PATIENCE).await?;
        back(&mut pair.mirror, *point).await?;
    }
    arm(&mut pair.origin, Point::ChangelogSend).await?;
    back(&mut pair.origin, Point::ChangelogSend).await?;
    crew.progress(50, PATIENCE).await?;
    mark(&mut pair).await?;
    let written = crew.stop(PATIENCE).await?;
    pair.caught_up(PATIENCE).await?;
    pair.agreed(PATIENCE).await?;
    let verified = pair.mirroring().await?.verify().await?;
    ensure!(verified.agrees(), "the sides differ: {verified:?}");
    let checked = check(&url, &written).await?;
    let checked = checked.map_err(|wrong| anyhow!("{wrong:?}"))?;
    for side in [&mut pair.origin, &mut pair.mirror] {
        side.check_stores(PATIENCE).await?;
        side.no_panics()?;
    }
    Ok(checked)
}

/// The mirror begins again after each end. It is never started as it should be in between, because
/// it would be through at once.
async fn load(pair: &mut Pair) -> Result<()> {
    arm(&mut pair.mirror, Point::MirrorLoad).await?;
    pair.mirror.wait_ready(PATIENCE).await?;
    // It ends as soon as it has something to follow, maybe before it says so.
    let _first = pair.mirroring().await?.add("near").await;
    ended_at(pair.mirror.node(1)?, Point::MirrorLoad).await?;
    arm(&mut pair.origin, Point::LoadSend).await?;
    pair.mirror.node(1)?.start_failing(Point::MirrorPage, 1)?;
    back(&mut pair.origin, Point::LoadSend).await?;
    ended_at(pair.mirror.node(1)?, Point::MirrorPage).await?;
    pair.mirror.node(1)?.start_failing(Point::MirrorLoaded, 1)?;
    back(&mut pair.mirror, Point::MirrorLoaded).await?;
    pair.mirroring().await?.add("near").await?;
    pair.following(PATIENCE).await
}

/// A comparison needs a view of both sides at a mark.
async fn mark(pair: &mut Pair) -> Result<()> {
    arm(&mut pair.origin, Point::MarkKept).await?;
    let both = pair.mirroring().await?;
    let marking = tokio::spawn(async move { both.verify().await.map(drop) });
    back(&mut pair.origin, Point::MarkKept).await?;
    // Its mark is applied again, or asked for once more, or the view of it is gone: it says which.
    let _either = marking.await?;
    Ok(())
}

async fn arm(side: &mut Cluster, point: Point) -> Result<()> {
    let node = side.node(1)?;
    node.kill()?;
    node.start_failing(point, 1)
}

async fn back(side: &mut Cluster, point: Point) -> Result<()> {
    ended_at(side.node(1)?, point).await?;
    side.node(1)?.start()?;
    let ready = side.wait_ready(PATIENCE).await;
    ready.with_context(|| format!("after an end at {}", point.name()))
}
