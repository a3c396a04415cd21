//! A cluster that grows from one node with many files to three: the new ones get a snapshot while a
//! writer goes on.

use super::DensityArgs;
use super::load::Kept;
use super::serve::{open, start};
use crate::beats::{Beats, Writer};
use crate::failover::one_kill;
use anyhow::{Context, Result, bail, ensure};
use jepsen::cluster::Cluster;
use meta_core::attr::Caller;
use meta_core::query::{Answer, QueryBody};
use serde::Serialize;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(600);
/// Creates of the writer while nothing else happens.
const ALONE: usize = 10_000;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    /// The writer beside nothing.
    before: Calls,
    /// How long each new node took from its start until it was a member with all rows.
    joined_s: Vec<f64>,
    /// The writer meanwhile.
    meanwhile: Calls,
    /// The writer's pause when the leader was killed.
    failover_s: f64,
    /// How many creates were acknowledged, all of which are there.
    written: u64,
}

/// Times of calls.
#[derive(Debug, Serialize)]
struct Calls {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Calls {
    fn since(beats: &Beats, begin: Instant) -> Self {
        let mut gaps = beats.gaps(begin);
        gaps.sort_unstable();
        let at = |thousandths: usize| {
            let index = gaps.len().saturating_sub(1) * thousandths / 1000;
            gaps.get(index).map_or(0.0, |gap| gap.as_secs_f64() * 1e3)
        };
        Self {
            count: gaps.len(),
            p50_ms: at(500),
            p99_ms: at(990),
            max_ms: at(1000),
        }
    }

    fn told(&self) -> String {
        format!(
            "{} calls, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
            self.count, self.p50_ms, self.p99_ms, self.max_ms
        )
    }
}

impl Growth {
    pub(super) fn render(&self, line: &mut impl FnMut(&str, String)) {
        line("writer alone", self.before.told());
        for (node, joined) in (2..).zip(&self.joined_s) {
            line(
                &format!("node {node} is a member with all rows"),
                format!("{joined:.2} s"),
            );
        }
        line("writer meanwhile", self.meanwhile.told());
        line(
            "pause when the leader is killed",
            format!("{:.2} s", self.failover_s),
        );
        line("acknowledged, and there", self.written.to_string());
    }
}

pub(super) async fn measure(kept: &Kept, args: &DensityArgs) -> Result<Growth> {
    let mut cluster = kept.cluster(args.cache_bytes)?;
    let first = start(&mut cluster).await?;
    let writer = Writer::begin(first.clone());
    let begin = Instant::now();
    writer.beats().more(ALONE).await?;
    let before = Calls::since(writer.beats(), begin);
    let begin = Instant::now();
    let mut joined_s = Vec::new();
    for _node in 2..=3 {
        joined_s.push(join(&mut cluster).await?);
    }
    let meanwhile = Calls::since(writer.beats(), begin);
    // The session knows only the first node.
    let written = writer.end().await?;
    first.close().await;
    let session = open(&cluster).await?;
    let writer = Writer::begin_at(session.clone(), written);
    let (_, _, pause) = one_kill(&mut cluster, writer.beats()).await?;
    let written = writer.end().await?;
    let Answer::Stat(stat) = session.query(Caller::root(), QueryBody::StatVolume).await? else {
        bail!("no totals");
    };
    session.close().await;
    let expected = kept.about.files + kept.about.dirs + 1 + written;
    ensure!(
        stat.inodes == expected,
        "{} inodes, not {expected}",
        stat.inodes
    );
    eprintln!("{}", cluster.digests_equal(PATIENCE).await?);
    Ok(Growth {
        before,
        joined_s,
        meanwhile,
        failover_s: pause.as_secs_f64(),
        written,
    })
}

/// Lets a new node join. Gives how long it took.
async fn join(cluster: &mut Cluster) -> Result<f64> {
    let begin = Instant::now();
    let id = cluster.newcomer()?;
    tokio::task::block_in_place(|| cluster.administer("join", id)).context("not joined")?;
    cluster.wait_ready(PATIENCE).await?;
    Ok(begin.elapsed().as_secs_f64())
}
