//! How late a mirror is, and how fast it catches up.

use crate::files::create;
use anyhow::{Context, Result};
use clap::Args;
use jepsen::pair::Pair;
use jepsen::process::cpu_seconds;
use meta_client::{Cluster, MetaSession, MetaUrl, SessionOptions};
use meta_core::command::NewNode;
use meta_core::ids::Ino;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// Arguments of `bench mirror`.
#[derive(Args, Debug)]
pub(crate) struct MirrorArgs {
    /// Operations per second while the lag is measured
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// Operations whose lag is measured
    #[arg(long, default_value_t = 5_000)]
    samples: u64,
    /// Records that the mirror has to catch up with
    #[arg(long, default_value_t = 60_000)]
    records: usize,
    /// Nodes of the origin
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &MirrorArgs) -> Result<ExitCode> {
    let mut pair = Pair::start("bench-mirror", args.nodes, 1).await?;
    pair.follow(PATIENCE).await?;
    let url: MetaUrl = pair.origin_url().parse()?;
    let session = MetaSession::open(&url, SessionOptions::default()).await?;
    lag(&mut pair, &session, args).await?;
    catch_up(&mut pair, &session, args).await?;
    session.close().await;
    Ok(ExitCode::SUCCESS)
}

/// From the acknowledgement at the origin until the mirror answers from a state that includes it.
async fn lag(pair: &mut Pair, session: &MetaSession, args: &MirrorArgs) -> Result<()> {
    let mirror_url: MetaUrl = pair.mirror_url().parse()?;
    let mirror = Arc::new(Cluster::connect(&mirror_url.addrs, PATIENCE).await?);
    let volume = mirror.find_volume(&mirror_url.volume).await?.id;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(args.rate)?);
    let cpu_before = cpu(pair)?;
    let begin = Instant::now();
    let mut running = Vec::new();
    for number in 0..args.samples {
        ticks.tick().await;
        let (session, mirror) = (session.clone(), Arc::clone(&mirror));
        running.push(tokio::spawn(async move {
            create(
                &session,
                Ino::ROOT,
                &format!("lag-{number}"),
                NewNode::Regular,
            )
            .await?;
            let acknowledged = Instant::now();
            mirror.reach(volume, session.token()).await?;
            Ok::<_, anyhow::Error>(acknowledged.elapsed())
        }));
    }
    let mut each = Vec::new();
    for sample in running {
        each.push(sample.await.context("a sample ended early")??);
    }
    let took = begin.elapsed();
    each.sort_unstable();
    let at =
        |share: usize| each[(each.len() * share / 100).min(each.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "lag at {:.0} op/s: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; {:.2} CPU-seconds per 1000 \
         operations of all nodes",
        each.len() as f64 / took.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        (cpu(pair)? - cpu_before) * 1e3 / each.len() as f64
    );
    Ok(())
}

/// Both sides' nodes.
fn cpu(pair: &mut Pair) -> Result<f64> {
    Ok(pair.origin.cpu_seconds()? + pair.mirror.cpu_seconds()?)
}

/// The mirror is stopped, records come, and it is started again.
async fn catch_up(pair: &mut Pair, session: &MetaSession, args: &MirrorArgs) -> Result<()> {
    let mirror_url: MetaUrl = pair.mirror_url().parse()?;
    pair.mirror.node(1)?.kill()?;
    let own = std::process::id();
    let origin_cpu = pair.origin.cpu_seconds()? + cpu_seconds(own)?;
    let begin = Instant::now();
    write(session, args.records).await?;
    let written = args.records as f64 / begin.elapsed().as_secs_f64();
    let origin_cpu = pair.origin.cpu_seconds()? + cpu_seconds(own)? - origin_cpu;
    let token = session.token();
    pair.mirror.node(1)?.start()?;
    let mirror = Cluster::connect(&mirror_url.addrs, PATIENCE).await?;
    let volume = mirror.find_volume(&mirror_url.volume).await?.id;
    // What it has applied while it was looked for does not count.
    let stat = mirror.reach(volume, Default::default()).await?;
    let missing = token.seq.0.saturating_sub(stat.token.seq.0);
    let begin = Instant::now();
    mirror.reach(volume, token).await?;
    let caught_up = missing as f64 / begin.elapsed().as_secs_f64();
    println!(
        "catch-up: {missing} records at {caught_up:.0} records/s, {:.2} of the origin's own write \
         rate of {written:.0} op/s; {:.2} CPU-seconds per 1000 operations at the origin, {:.2} at \
         the mirror",
        caught_up / written,
        origin_cpu * 1e3 / args.records as f64,
        pair.mirror.cpu_seconds()? * 1e3 / args.records as f64
    );
    Ok(())
}

async fn write(session: &MetaSession, count: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..128)
        .map(|_| {
            let (session, next) = (session.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(());
                    }
                    create(
                        &session,
                        Ino::ROOT,
                        &format!("behind-{number}"),
                        NewNode::Regular,
                    )
                    .await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.context("a writer ended early")??;
    }
    Ok(())
}
