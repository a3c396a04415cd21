//! Runs `curlew mdtest`.

use super::args::{MdtestArgs, Op};
use super::floors;
use super::plan::Plan;
use super::thread::{Data, Thread, make};
use crate::exit::Finding;
use crate::output;
use crate::progress::Progress;
use crate::{target, volume_path};
use anyhow::{Context, Result};
use bytes::Bytes;
use chunk_store::{Limits, SliceStore, VolumeKeys, open_volume};
use futures::future::try_join_all;
use meta_client::bench::{Figures, OperationReport, Sample, cpu_seconds};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::command::{NewNode, Operation};
use meta_core::name::Name;
use std::time::Instant;

/// Runs the command.
pub(crate) fn run(args: &MdtestArgs) -> Result<Finding> {
    args.check()?;
    let names = volume_path::names(&args.path)?;
    let url = target::resolve(&args.volume)?;
    // As many threads as a mount has: one would be the limit and not the engine.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let figures = runtime.block_on(measure(args, &url, &names))?;
    if args.json {
        output::json(&figures)?;
    } else {
        output::text_out(&figures.render())?;
    }
    Ok(Finding::Fine)
}

async fn measure(args: &MdtestArgs, url: &MetaUrl, names: &[Name]) -> Result<Figures> {
    let threads = usize::try_from(args.threads)?;
    let progress = Progress::new();
    progress.step("measuring the machine");
    let floors = floors::measure(threads).await?;
    progress.step("connecting");
    let options = SessionOptions {
        slots: args.threads,
        queries: args.threads,
        read_from: args.read_from.into(),
        ..SessionOptions::default()
    };
    let session = MetaSession::open(url, options).await?;
    let measured = in_session(args, names, &session, &progress).await;
    session.close().await;
    let operations = measured.with_context(|| {
        format!(
            "what was made below {} may be left: remove it through a mount",
            args.path.display()
        )
    })?;
    Ok(Figures {
        threads,
        operations,
        floors,
    })
}

async fn in_session(
    args: &MdtestArgs,
    names: &[Name],
    session: &MetaSession,
    progress: &Progress,
) -> Result<Vec<OperationReport>> {
    let name = names.last().context("there is a name")?.clone();
    let parent = volume_path::holder(session, &Caller::root(), names).await?;
    let made = make(session, parent, name.clone(), NewNode::Directory).await;
    let root = made.with_context(|| format!("cannot make {}", args.path.display()))?;
    let data = match args.write {
        0 => None,
        bytes => Some(data(session, bytes).await?),
    };
    let mut all = Vec::new();
    for thread in 0..args.threads as usize {
        let plan = Plan::new(thread, args.dirs, args.depth, args.files)?;
        all.push(Thread::new(session.clone(), plan, root, data.clone()));
    }
    let mut reports = Vec::new();
    for op in args.steps() {
        progress.step(op.name());
        let (threads, report) = step(all, op).await?;
        all = threads;
        if args.ops.contains(&op) {
            reports.push(report);
        }
    }
    let remove = Operation::Rmdir { parent, name };
    session.execute(Caller::root(), remove).await?;
    Ok(reports)
}

/// All threads do one kind of operation.
async fn step(threads: Vec<Thread>, op: Op) -> Result<(Vec<Thread>, OperationReport)> {
    let own = std::process::id();
    let (begin, cpu) = (Instant::now(), cpu_seconds(own)?);
    let working = threads.into_iter().map(|thread| {
        let work = tokio::spawn(thread.run(op));
        async move { work.await.context("a thread ended early")? }
    });
    let done = try_join_all(working).await?;
    let (took, cpu) = (begin.elapsed(), cpu_seconds(own)? - cpu);
    let (threads, times): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    let each = times.into_iter().flatten().collect();
    let report = Sample { took, each }.operation(op.name(), cpu);
    Ok((threads, report))
}

async fn data(session: &MetaSession, bytes: u32) -> Result<Data> {
    let volume = session.volume();
    let store = open_volume(&volume.storage, volume.uuid)
        .await
        .context("the volume's object store")?;
    let keys = VolumeKeys {
        uuid: volume.uuid,
        epochs: volume.epochs.clone(),
    };
    let slices = SliceStore::new(store, keys, volume.block_bytes, Limits::default());
    Ok(Data {
        slices,
        bytes: Bytes::from(vec![0x5a; bytes as usize]),
    })
}
