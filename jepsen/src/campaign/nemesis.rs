//! What hurts the cluster.

use super::partition::{around, part};
use crate::cluster::{Cluster, leader_among};
use crate::history::Recorder;
use crate::wait;
use anyhow::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The longest wait for a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a leader that was replaced stays parted from the others.
const ALONE_MILLIS: u64 = 4_000;

/// The longest that a node may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

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
    /// SIGTERM, which hands leadership over, and a new start, one node after the other.
    Restart,
    /// A node loses its disk, and is taken out and in again.
    Wipe,
}

impl Nemesis {
    /// All that hurt.
    pub const ALL: [Self; 5] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Restart,
        Self::Wipe,
    ];
}

/// The time that a fault lasted, in milliseconds since the history's begin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Its kind.
    pub kind: String,
    /// When it began.
    pub begin_ms: u64,
    /// When it was healed.
    pub end_ms: u64,
}

/// What a nemesis did.
#[derive(Clone, Default, Debug)]
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
    /// When the faults were.
    pub spans: Vec<Span>,
}

/// Notes when faults begin and end.
pub(super) struct Watch<'a> {
    recorder: &'a Recorder,
    begin_ms: u64,
}

impl<'a> Watch<'a> {
    fn start(recorder: &'a Recorder) -> Self {
        let begin_ms = recorder.now_ns() / 1_000_000;
        Self { recorder, begin_ms }
    }

    fn end(self, nemesis: Nemesis, report: &mut NemesisReport) {
        report.spans.push(Span {
            kind: format!("{nemesis:?}"),
            begin_ms: self.begin_ms,
            end_ms: self.recorder.now_ns() / 1_000_000,
        });
    }
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
            spans: _,
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
            _ => None,
        }
    }
}

/// Hurts the cluster until `end`, and heals it.
pub(super) async fn torment(
    cluster: &mut Cluster,
    nemesis: Nemesis,
    rng: &mut StdRng,
    recorder: &Recorder,
    end: Instant,
) -> Result<NemesisReport> {
    let mut report = NemesisReport::default();
    if nemesis != Nemesis::None {
        let watch = Watch::start(recorder);
        depose(cluster, nemesis, &mut report, end).await?;
        watch.end(nemesis, &mut report);
    }
    while Instant::now() < end {
        rest(rng.random_range(500..2_000), end).await;
        if nemesis == Nemesis::None || Instant::now() >= end {
            continue;
        }
        let watch = Watch::start(recorder);
        if nemesis == Nemesis::Partition {
            part(cluster, rng, &mut report).await?;
            rest(rng.random_range(1_000..6_000), end).await;
            cluster.links()?.heal(rng.random_bool(0.5));
            watch.end(nemesis, &mut report);
            continue;
        }
        // A cluster that is still electing may have no leader to hit: then the victims are random.
        let leader = cluster.leader(Duration::from_secs(3)).await.ok();
        let mut victims = pick(cluster, leader, rng);
        if matches!(nemesis, Nemesis::Restart | Nemesis::Wipe) {
            victims.truncate(1);
        }
        report.faults += 1;
        report.leader_hits += u32::from(leader.is_some_and(|id| victims.contains(&id)));
        report.majority_hits += u32::from(victims.len() * 2 > cluster.ids().len());
        println!("nemesis: {nemesis:?} {victims:?} (leader {leader:?})");
        for id in &victims {
            hurt(cluster, nemesis, *id).await?;
        }
        let longest = if nemesis == Nemesis::Pause {
            5_000
        } else {
            3_000
        };
        rest(rng.random_range(200..longest), end).await;
        heal(cluster, nemesis, &victims).await?;
        watch.end(nemesis, &mut report);
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
    hurt(cluster, nemesis, leader).await?;
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
    heal(cluster, nemesis, &[leader]).await
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

async fn hurt(cluster: &mut Cluster, nemesis: Nemesis, id: u64) -> Result<()> {
    match nemesis {
        Nemesis::None => Ok(()),
        Nemesis::Kill => cluster.node(id)?.kill(),
        Nemesis::Restart => {
            let status = cluster.node(id)?.stop(STOP_LIMIT).await?;
            ensure!(status.success(), "node {id} did not stop cleanly: {status}");
            Ok(())
        }
        Nemesis::Wipe => {
            cluster.node(id)?.kill()?;
            cluster.node(id)?.wipe()
        }
        Nemesis::Pause => cluster.node(id)?.pause(),
        Nemesis::Partition => {
            let links = cluster.links()?;
            links.silence(&around(links, id));
            Ok(())
        }
    }
}

async fn heal(cluster: &mut Cluster, nemesis: Nemesis, victims: &[u64]) -> Result<()> {
    for id in victims {
        match nemesis {
            Nemesis::None => {}
            Nemesis::Kill | Nemesis::Restart => cluster.node(*id)?.start()?,
            Nemesis::Wipe => {
                cluster.node(*id)?.start()?;
                replace(cluster, *id).await?;
            }
            Nemesis::Pause => cluster.node(*id)?.resume()?,
            Nemesis::Partition => cluster.links()?.heal(true),
        }
    }
    Ok(())
}

/// Takes a node in that has lost its data. The command is safe to repeat, and an election may stop
/// it.
async fn replace(cluster: &mut Cluster, id: u64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match cluster.administer("replace", id) {
            Ok(_said) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_again) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The length of a fault or of a calm: part of the plan, not a wait for anything.
async fn rest(millis: u64, end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    tokio::time::sleep(Duration::from_millis(millis).min(left)).await;
}
