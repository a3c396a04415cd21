//! How long a writer waits when the leader is killed with -9.

use anyhow::{Context, Result, bail};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions, leader_among};
use jepsen::wait;
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation};
use meta_core::ids::Ino;
use meta_core::name::Name;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest pause that is accepted.
const GAP_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// Successes after a new leader is known, before a pause counts as over.
const STEADY: usize = 20;

/// Arguments of `bench failover`.
#[derive(Args, Debug)]
pub(crate) struct FailoverArgs {
    /// How many times the leader is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
}

/// When the steady writer was answered.
#[derive(Debug, Default)]
struct Beats {
    stop: AtomicBool,
    answered: Mutex<Vec<Instant>>,
}

impl Beats {
    fn count(&self) -> usize {
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The longest time between two answers, from the last one before `since`.
    fn longest_gap(&self, since: Instant) -> Duration {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = answered.partition_point(|at| *at < since).saturating_sub(1);
        let pairs = answered[begin..].windows(2).map(|pair| pair[1] - pair[0]);
        pairs.max().unwrap_or_default()
    }
}

/// Runs the benchmark; fails when a pause is too long.
pub(crate) async fn run(args: &FailoverArgs) -> Result<ExitCode> {
    let mut cluster = Cluster::start(ClusterOptions::new("failover", 3)).await?;
    cluster.format("bench").await?;
    let url: MetaUrl = cluster.url("bench").parse()?;
    let session = MetaSession::open(&url, SessionOptions::default()).await?;
    let beats = Arc::new(Beats::default());
    let writer = tokio::spawn(write(session.clone(), Arc::clone(&beats)));

    let mut gaps = Vec::new();
    for kill in 1..=args.kills {
        let gap = one_kill(&mut cluster, &beats)
            .await
            .inspect_err(|_| cluster.keep());
        let (killed, next, gap) = gap.with_context(|| format!("kill {kill}"))?;
        let seconds = gap.as_secs_f64();
        println!("kill {kill:3}: node {killed} -> node {next}, pause {seconds:.3} s");
        gaps.push(gap);
    }
    beats.stop.store(true, Ordering::Relaxed);
    let written = tokio::time::timeout(PATIENCE, writer)
        .await
        .context("the writer hangs")???;
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

async fn one_kill(cluster: &mut Cluster, beats: &Beats) -> Result<(u64, u64, Duration)> {
    steady(beats).await?;
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
    steady(beats).await?;
    let gap = beats.longest_gap(since);
    cluster.node(killed)?.start()?;
    cluster.wait_ready(PATIENCE).await?;
    Ok((killed, next, gap))
}

async fn steady(beats: &Beats) -> Result<()> {
    let begin = beats.count();
    wait::until("the writer to be answered", PATIENCE, async || {
        let more = beats.count() - begin;
        Ok(if more >= STEADY {
            Ok(())
        } else {
            Err(format!("{more} answers"))
        })
    })
    .await
}

/// Creates one name after the other, until told to stop.
async fn write(session: MetaSession, beats: Arc<Beats>) -> Result<u64> {
    let mut number: u64 = 0;
    while !beats.stop.load(Ordering::Relaxed) {
        let Ok(name) = Name::new(format!("f{number}")) else {
            bail!("a bad name of our own")
        };
        let create = Operation::Create(Create {
            parent: Ino::ROOT,
            name,
            mode: 0o644,
            node: NewNode::Regular,
            existing: Existing::Refuse,
        });
        session
            .execute(Caller::root(), create)
            .await
            .with_context(|| format!("create f{number} failed through a failover"))?;
        beats
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
        number += 1;
    }
    Ok(number)
}
