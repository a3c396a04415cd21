//! The places that a node of a running cluster passes.

use super::scene::Scene;
use super::{PATIENCE, ended_at};
use crate::writer::Checked;
use anyhow::{Context, Result};
use meta_client::meta_core::failpoint::Point;

/// Passed by any node under load, up to so many times before the end.
const LOAD: &[(Point, u64)] = &[
    (Point::CommittedSave, 40),
    (Point::Append, 40),
    (Point::LogWrite, 40),
    (Point::LogSynced, 40),
    (Point::LogWritten, 40),
    (Point::LogReported, 40),
    (Point::Purge, 1),
    (Point::PurgeFlushed, 1),
    (Point::Purged, 1),
    (Point::Apply, 40),
    (Point::StateWrite, 40),
    (Point::StateWritten, 40),
    (Point::StateAnswered, 40),
    (Point::SnapshotCheckpoint, 2),
    (Point::SnapshotHashed, 2),
    (Point::SnapshotManifest, 2),
    (Point::SnapshotRenamed, 2),
    (Point::SnapshotComplete, 2),
];

/// Passed at a start.
const START: &[Point] = &[Point::LogOpened, Point::StoreOpened];

/// Passed in an election.
const ELECTION: &[Point] = &[Point::VoteSave, Point::VoteSaved];

/// Passed by a node that is sent a snapshot.
const CATCH_UP: &[Point] = &[
    Point::ReceiveManifest,
    Point::ReceiveWrite,
    Point::ReceiveFile,
    Point::ReceiveFinish,
    Point::ReceiveRenamed,
    Point::InstallVerified,
    Point::InstallCopied,
    Point::InstallOpened,
    Point::FileWritten,
    Point::FileRenamed,
    Point::InstallCurrent,
    Point::InstallSwapped,
];

/// Passed by a leader under load.
const LEADER: &[(Point, u64)] = &[(Point::Propose, 40), (Point::Proposed, 40)];

/// Passed by a leader that has something to tidy up.
const DUTIES: &[Point] = &[
    Point::SessionsExpire,
    Point::OrphanReap,
    Point::FileTrim,
    Point::ChangelogTrim,
];

/// Passed by a leader whose cluster changes.
const MEMBERS: &[Point] = &[Point::LearnerAdded, Point::VoterAdded, Point::MemberRemoved];

/// All places of this module.
pub fn points() -> Vec<Point> {
    let with_count = LOAD.iter().chain(LEADER).map(|(point, _)| *point);
    let lists = [START, ELECTION, CATCH_UP, DUTIES, MEMBERS];
    let others = lists.into_iter().flatten().copied();
    let single = [Point::SnapshotSend, Point::HandOver];
    with_count.chain(others).chain(single).collect()
}

/// Ends a node at each place of a running cluster, under writers.
///
/// # Errors
/// When a place is not passed, the cluster does not go on, or something is lost.
pub async fn run(seed: u64) -> Result<Checked> {
    let mut scene = Scene::begin("crash-points", 3, seed).await?;
    load(&mut scene).await?;
    start(&mut scene).await?;
    election(&mut scene).await?;
    catch_up(&mut scene).await?;
    leader(&mut scene).await?;
    duties(&mut scene).await?;
    hand_over(&mut scene).await?;
    members(&mut scene).await?;
    scene.end().await
}

async fn load(scene: &mut Scene) -> Result<()> {
    for (index, (point, below)) in LOAD.iter().enumerate() {
        let victim = scene.one(index % 2 == 0).await?;
        let count = scene.some(*below);
        scene.arm(victim, *point, count)?;
        scene.survive(victim, *point).await?;
    }
    Ok(())
}

async fn start(scene: &mut Scene) -> Result<()> {
    for point in START {
        let victim = scene.one(false).await?;
        scene.arm(victim, *point, 1)?;
        scene.survive(victim, *point).await?;
    }
    Ok(())
}

/// The leader goes away, and the two that are left need each other's vote; the one that ends first
/// leaves none to go on until the leader is back.
async fn election(scene: &mut Scene) -> Result<()> {
    for point in ELECTION {
        let (leader, victim) = (scene.one(true).await?, scene.one(false).await?);
        scene.arm(victim, *point, 1)?;
        scene.cluster.node(leader)?.kill()?;
        ended_at(scene.cluster.node(victim)?, *point).await?;
        scene.cluster.node(leader)?.start()?;
        scene.survive(victim, *point).await?;
    }
    Ok(())
}

async fn catch_up(scene: &mut Scene) -> Result<()> {
    for point in CATCH_UP {
        let victim = scene.one(false).await?;
        scene.leave_behind(victim).await?;
        scene.arm(victim, *point, 1)?;
        scene.survive(victim, *point).await?;
    }
    let (behind, leader) = (scene.one(false).await?, scene.one(true).await?);
    let mut ids = scene.cluster.ids().into_iter();
    let sender = ids.find(|id| *id != behind && *id != leader);
    let sender = sender.context("a cluster of three")?;
    // It leads before anybody needs a snapshot of it, and then has no log for the one behind.
    scene.cluster.node(behind)?.kill()?;
    scene.arm(sender, Point::SnapshotSend, 1)?;
    scene.make_lead(sender).await?;
    scene.purged(sender).await?;
    scene.cluster.node(behind)?.start()?;
    scene.survive(sender, Point::SnapshotSend).await
}

async fn leader(scene: &mut Scene) -> Result<()> {
    for (point, below) in LEADER {
        let victim = scene.one(false).await?;
        let count = scene.some(*below);
        scene.arm(victim, *point, count)?;
        scene.make_lead(victim).await?;
        scene.survive(victim, *point).await?;
    }
    Ok(())
}

async fn duties(scene: &mut Scene) -> Result<()> {
    for point in DUTIES {
        let victim = scene.one(false).await?;
        scene.arm(victim, *point, 1)?;
        scene.make_lead(victim).await?;
        match point {
            Point::SessionsExpire => scene.abandon_a_session().await?,
            Point::FileTrim => scene.cut_a_file().await?,
            // What the writers do is enough.
            _ => {}
        }
        scene.survive(victim, *point).await?;
    }
    Ok(())
}

async fn hand_over(scene: &mut Scene) -> Result<()> {
    let victim = scene.one(false).await?;
    scene.arm(victim, Point::HandOver, 1)?;
    scene.make_lead(victim).await?;
    let status = scene.cluster.node(victim)?.stop(PATIENCE).await?;
    let log = scene.cluster.node(victim)?.log_tail(40);
    super::check_end(status, &log, Point::HandOver)?;
    scene.survive(victim, Point::HandOver).await
}

/// Two nodes come and one goes; each time the leader ends in the middle, and the command that had
/// asked for it is given once more.
async fn members(scene: &mut Scene) -> Result<()> {
    let mut newest = 0;
    for point in MEMBERS {
        let leader = scene.one(false).await?;
        scene.arm(leader, *point, 1)?;
        scene.make_lead(leader).await?;
        let command = if *point == Point::MemberRemoved {
            "leave"
        } else {
            newest = scene.cluster.newcomer()?;
            "join"
        };
        // Its leader ends under it: whether it finds the next one in time is not the point here.
        let _first = scene.cluster.administer(command, newest);
        ended_at(scene.cluster.node(leader)?, *point).await?;
        scene.cluster.start_all()?;
        let again = scene.cluster.administer(command, newest);
        again.with_context(|| format!("{}: the command, once more", point.name()))?;
        if command == "leave" {
            scene.cluster.forget(newest)?;
        }
        scene.cluster.wait_ready(PATIENCE).await?;
        scene.crew.progress(20, PATIENCE).await?;
    }
    Ok(())
}
