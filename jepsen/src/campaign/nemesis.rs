//! What hurts the cluster.

use super::partition::{around, part};
use crate::cluster::{Cluster, leader_among};
use crate::wait;
use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::time::{Duration, Instant};

/// The longest wait for a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a leader that was replaced stays parted from the others.
const ALONE_MILLIS: u64 = 4_000;

/// The kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nemesis {
    /// No faults.
    None,
    /// SIGKILL, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// Ways between nodes that bring nothing.
    Partition,
}

/// What a nemesis did.
#[derive(Clone, Copy, Default, Debug)]
pub struct NemesisReport {
    /// Faults begun.
    pub faults: u32,
    /// Of these, how many hit the leader.
    pub leader_hits: u32,
    /// Of these, how many took the majority away.
    pub majority_hits: u32,
    /// Of these, during how many the others were seen to elect another leader.
    pub replaced: u32,
    /// Partitions with the leader among more than half of the nodes.
    pub leader_with_most: u32,
    /// Partitions of single directions, or between some pairs only.
    pub uneven: u32,
}

impl NemesisReport {
    /// Why a run under `nemesis` did not exercise it, if it did not.
    pub fn gap(&self, nemesis: Nemesis) -> Option<String> {
        let Self {
            faults,
            leader_hits,
            majority_hits: _,
            replaced,
            leader_with_most,
            uneven,
        } = *self;
        match nemesis {
            Nemesis::None => None,
            _ if faults == 0 => Some("no fault happened".to_owned()),
            _ if leader_hits == 0 => Some("no fault hit the leader".to_owned()),
            _ if replaced == 0 => Some("no leader was replaced".to_owned()),
            Nemesis::Partition if leader_with_most == 0 => {
                Some("no leader was left with most nodes".to_owned())
            }
            Nemesis::Partition if uneven == 0 => Some("no partition was uneven".to_owned()),
            Nemesis::Kill | Nemesis::Pause | Nemesis::Partition => None,
        }
    }
}

/// Hurts the cluster until `end`, and heals it.
pub(super) async fn torment(
    cluster: &mut Cluster,
    nemesis: Nemesis,
    rng: &mut StdRng,
    end: Instant,
) -> Result<NemesisReport> {
    let mut report = NemesisReport::default();
    if nemesis != Nemesis::None {
        depose(cluster, nemesis, &mut report, end).await?;
    }
    while Instant::now() < end {
        rest(rng.random_range(500..2_000), end).await;
        if nemesis == Nemesis::None || Instant::now() >= end {
            continue;
        }
        if nemesis == Nemesis::Partition {
            part(cluster, rng, &mut report).await?;
            rest(rng.random_range(1_000..6_000), end).await;
            cluster.links()?.heal(rng.random_bool(0.5));
            continue;
        }
        // A cluster that is still electing may have no leader to hit: then the victims are random.
        let leader = cluster.leader(Duration::from_secs(3)).await.ok();
        let victims = pick(cluster, leader, rng);
        report.faults += 1;
        report.leader_hits += u32::from(leader.is_some_and(|id| victims.contains(&id)));
        report.majority_hits += u32::from(victims.len() * 2 > cluster.ids().len());
        println!("nemesis: {nemesis:?} {victims:?} (leader {leader:?})");
        for id in &victims {
            hurt(cluster, nemesis, *id)?;
        }
        let longest = if nemesis == Nemesis::Pause {
            5_000
        } else {
            3_000
        };
        rest(rng.random_range(200..longest), end).await;
        heal(cluster, nemesis, &victims)?;
    }
    Ok(report)
}

/// The first fault takes the leader away until the others have another: a run that is short must
/// have met that.
async fn depose(
    cluster: &mut Cluster,
    nemesis: Nemesis,
    report: &mut NemesisReport,
    end: Instant,
) -> Result<()> {
    let leader = cluster.leader(PATIENCE).await?;
    println!("nemesis: {nemesis:?} [{leader}] (leader) until it is replaced");
    let away = cluster.node(leader)?.addr().to_owned();
    hurt(cluster, nemesis, leader)?;
    let mut others = cluster.addrs();
    others.retain(|addr| *addr != away);
    let next = wait::until("another leader", PATIENCE, async || {
        Ok(leader_among(&others).await)
    });
    let next = next.await?;
    println!("nemesis: node {next} leads instead");
    report.faults += 1;
    report.leader_hits += 1;
    report.replaced += 1;
    if nemesis == Nemesis::Partition {
        // Those that write find the new leader some time later. Only then can somebody read at the
        // old one what is not true any more.
        rest(ALONE_MILLIS, end).await;
    }
    heal(cluster, nemesis, &[leader])
}

/// One node, sometimes more; every second time the leader is among them.
fn pick(cluster: &Cluster, leader: Option<u64>, rng: &mut StdRng) -> Vec<u64> {
    let mut ids = cluster.ids();
    ids.shuffle(rng);
    if rng.random_bool(0.5) {
        ids.sort_by_key(|id| Some(*id) != leader);
    }
    let count = match rng.random_range(0..10) {
        0 => ids.len(),
        1..3 => ids.len().div_ceil(2),
        _ => 1,
    };
    ids.truncate(count);
    ids
}

fn hurt(cluster: &mut Cluster, nemesis: Nemesis, id: u64) -> Result<()> {
    match nemesis {
        Nemesis::None => Ok(()),
        Nemesis::Kill => cluster.node(id)?.kill(),
        Nemesis::Pause => cluster.node(id)?.pause(),
        Nemesis::Partition => {
            let links = cluster.links()?;
            links.silence(&around(links, id));
            Ok(())
        }
    }
}

fn heal(cluster: &mut Cluster, nemesis: Nemesis, victims: &[u64]) -> Result<()> {
    for id in victims {
        match nemesis {
            Nemesis::None => {}
            Nemesis::Kill => cluster.node(*id)?.start()?,
            Nemesis::Pause => cluster.node(*id)?.resume()?,
            Nemesis::Partition => cluster.links()?.heal(true),
        }
    }
    Ok(())
}

/// The length of a fault or of a calm: part of the plan, not a wait for anything.
async fn rest(millis: u64, end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    tokio::time::sleep(Duration::from_millis(millis).min(left)).await;
}
