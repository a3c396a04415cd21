//! How long a writer waits when the leader is killed with -9.

use crate::beats::{Beats, Writer};
use anyhow::{Context, Result};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions, leader_among};
use jepsen::wait;
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest pause that is accepted.
const GAP_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `bench failover`.
#[derive(Args, Debug)]
pub(crate) struct FailoverArgs {
    /// How many times the leader is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
}

/// Runs the benchmark; fails when a pause is too long.
pub(crate) async fn run(args: &FailoverArgs) -> Result<ExitCode> {
    let mut cluster = Cluster::start(ClusterOptions::new("failover", 3)).await?;
    cluster.format("bench").await?;
    let url: MetaUrl = cluster.url("bench").parse()?;
    let session = MetaSession::open(&url, SessionOptions::default()).await?;
    let writer = Writer::begin(session.clone());

    let mut gaps = Vec::new();
    for kill in 1..=args.kills {
        let gap = one_kill(&mut cluster, writer.beats())
            .await
            .inspect_err(|_| cluster.keep());
        let (killed, next, gap) = gap.with_context(|| format!("kill {kill}"))?;
        let seconds = gap.as_secs_f64();
        println!("kill {kill:3}: node {killed} -> node {next}, pause {seconds:.3} s");
        gaps.push(gap);
    }
    let written = writer.end().await?;
    session.close().await;
    let agreement = cluster.digests_equal(PATIENCE).await?;
    println!("{written} creates, none failed; {agreement}");
    let verdict = verdict(gaps);
    if verdict != ExitCode::SUCCESS {
        // The nodes' logs tell where the time went.
        cluster.keep();
    }
    Ok(verdict)
}

fn verdict(mut gaps: Vec<Duration>) -> ExitCode {
    gaps.sort();
    let median = gaps[gaps.len() / 2].as_secs_f64();
    let max = gaps.last().copied().unwrap_or_default();
    println!(
        "{} kills: median {median:.3} s, max {:.3} s, allowed below {:.0} s",
        gaps.len(),
        max.as_secs_f64(),
        GAP_MAX.as_secs_f64()
    );
    if max < GAP_MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Kills the leader, and starts it again once the pause is over. Gives it, the next, and the pause.
pub(crate) async fn one_kill(cluster: &mut Cluster, beats: &Beats) -> Result<(u64, u64, Duration)> {
    beats.steady().await?;
    let killed = cluster.leader(PATIENCE).await?;
    let since = Instant::now();
    cluster.node(killed)?.kill()?;
    let dead = cluster.node(killed)?.addr().to_owned();
    let others: Vec<String> = cluster
        .addrs()
        .into_iter()
        .filter(|addr| *addr != dead)
        .collect();
    let next = wait::until("the next leader", PATIENCE, async || {
        Ok(leader_among(&others).await)
    })
    .await?;
    beats.steady().await?;
    let gap = beats.longest_gap(since);
    cluster.node(killed)?.start()?;
    cluster.wait_ready(PATIENCE).await?;
    Ok((killed, next, gap))
}
