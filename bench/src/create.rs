//! Names made, looked up and removed through a real cluster.

use crate::floor::fdatasync;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::process::cpu_seconds;
use meta_client::bench::{Figures, OperationReport, Sample};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::query::QueryBody;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Arguments of `bench create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Operations in flight at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Names
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Metadata nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
enum Step {
    Create,
    Stat,
    Unlink,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &CreateArgs) -> Result<ExitCode> {
    let mut cluster = Cluster::start(ClusterOptions::new("bench", args.nodes)).await?;
    cluster.format("bench").await?;
    let url: MetaUrl = cluster.url("bench").parse()?;
    let threads = usize::from(args.threads);
    let options = SessionOptions {
        slots: u32::from(args.threads),
        ..SessionOptions::default()
    };
    let session = MetaSession::open(&url, options).await?;
    let mut operations = Vec::new();
    for (op, step) in [
        ("create", Step::Create),
        ("stat", Step::Stat),
        ("unlink", Step::Unlink),
    ] {
        operations.push(measure(&mut cluster, &session, op, step, threads, args.count).await?);
    }
    session.close().await;
    let dir = cluster.dir().to_owned();
    let floor = tokio::task::spawn_blocking(move || fdatasync(&dir, Duration::from_secs(3)));
    let report = Figures {
        threads,
        operations,
        floors: vec![floor.await??],
    };
    if args.json {
        println!(
            "{}",
            serde_json::to_string(&report).context("the report does not fit JSON")?
        );
    } else {
        print!("{}", report.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    cluster: &mut Cluster,
    session: &MetaSession,
    op: &'static str,
    step: Step,
    threads: usize,
    count: usize,
) -> Result<OperationReport> {
    let own = std::process::id();
    let cpu_before = cluster.cpu_seconds()? + cpu_seconds(own)?;
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let (session, next) = (session.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut each = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(each);
                    }
                    let start = Instant::now();
                    one(&session, step, number).await?;
                    each.push(start.elapsed());
                }
            })
        })
        .collect();
    let mut each = Vec::with_capacity(count);
    for task in tasks {
        each.extend(task.await.context("a task ended early")??);
    }
    let took = begin.elapsed();
    let cpu = cluster.cpu_seconds()? + cpu_seconds(own)? - cpu_before;
    Ok(Sample { took, each }.operation(op, cpu))
}

async fn one(session: &MetaSession, step: Step, number: usize) -> Result<()> {
    let text = format!("f{number}");
    let name = Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))?;
    let (caller, parent) = (Caller::root(), Ino::ROOT);
    match step {
        Step::Create => {
            let (node, existing) = (NewNode::Regular, Existing::Refuse);
            let create = Create {
                parent,
                name,
                mode: 0o644,
                node,
                existing,
            };
            session
                .execute(caller, Operation::Create(create))
                .await
                .map(drop)?;
        }
        Step::Stat => session
            .query(caller, QueryBody::Lookup { parent, name })
            .await
            .map(drop)?,
        Step::Unlink => {
            session
                .execute(caller, Operation::Unlink { parent, name })
                .await
                .map(drop)?;
        }
    }
    Ok(())
}
