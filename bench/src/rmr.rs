//! A tree removed as `curlew rmr` does it, beside its files unlinked one by one in the same run.

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::process::cpu_seconds;
use jepsen::wait;
use meta_client::{Doomed, MetaSession, MetaUrl, SessionOptions, TreeEvent};
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::{Answer, QueryBody};
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long files without names may take to be deleted.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the trees are called.
const TREE: &str = "tree";

/// Arguments of `bench rmr`.
#[derive(Args, Debug)]
pub(crate) struct RmrArgs {
    /// Files of a tree
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    files: u64,
    /// Directories that they lie in
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    dirs: u64,
    /// Files that are unlinked at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Commands of rmr in flight at once, as its own default
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1024))]
    rmr_threads: u16,
    /// Metadata nodes, each a process
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// Rounds of both; what is told is the one with the median ratio
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One way to remove a tree.
#[derive(Clone, Copy, Debug, Serialize)]
struct Way {
    /// Files a second, until the last answer.
    files_per_s: f64,
    /// Processor seconds of all nodes and the client for 1000 files, until the last answer.
    cpu_s_per_1000: f64,
    /// As above, until the files that lost their names are deleted.
    cpu_s_per_1000_deleted: f64,
}

/// Both ways.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    files: u64,
    unlink: Way,
    rmr: Way,
    /// How many times as many files go in a second.
    rate_ratio: f64,
    /// How many times as many processor seconds unlinking takes, until the files are deleted.
    cpu_ratio: f64,
}

/// Runs the benchmark.
pub(crate) async fn run(args: &RmrArgs) -> Result<ExitCode> {
    let mut cluster = Cluster::start(ClusterOptions::new("bench-rmr", args.nodes)).await?;
    // What is measured is how files are deleted: none may be kept for a day.
    cluster.format_without_trash("bench").await?;
    let url: MetaUrl = cluster.url("bench").parse()?;
    let slots = u32::from(args.threads.max(args.rmr_threads));
    let options = SessionOptions {
        slots,
        queries: slots,
        ..SessionOptions::default()
    };
    let session = MetaSession::open(&url, options).await?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        if !args.json {
            eprintln!("round {round} of {}", args.rounds);
        }
        rounds.push(both(&mut cluster, &session, args).await?);
    }
    session.close().await;
    rounds.sort_by(|one, other| one.rate_ratio.total_cmp(&other.rate_ratio));
    let median = rounds.get(rounds.len() / 2).context("there is a round")?;
    if args.json {
        println!("{}", serde_json::to_string(median)?);
    } else {
        print!("{}", render(median));
    }
    Ok(ExitCode::SUCCESS)
}

fn render(round: &Round) -> String {
    let mut text = format!(
        "{:8} {:>10} {:>12} {:>14}\n",
        "", "files/s", "cpu s/1000", "until deleted"
    );
    for (name, way) in [("unlink", round.unlink), ("rmr", round.rmr)] {
        text += &format!(
            "{name:8} {:>10.0} {:>12.4} {:>14.4}\n",
            way.files_per_s, way.cpu_s_per_1000, way.cpu_s_per_1000_deleted
        );
    }
    text + &format!(
        "{:8} {:>10.2} {:>12.2} {:>14.2}\n",
        "ratio",
        round.rate_ratio,
        round.unlink.cpu_s_per_1000 / round.rmr.cpu_s_per_1000,
        round.cpu_ratio
    )
}

async fn both(cluster: &mut Cluster, session: &MetaSession, args: &RmrArgs) -> Result<Round> {
    let tree = make(session, args).await?;
    let unlink = measure(cluster, session, args, async || {
        unlink(session, tree, args).await
    });
    let unlink = unlink.await?;
    make(session, args).await?;
    let rmr = measure(cluster, session, args, async || remove(session, args).await);
    let rmr = rmr.await?;
    Ok(Round {
        files: args.files,
        unlink,
        rmr,
        rate_ratio: rmr.files_per_s / unlink.files_per_s,
        cpu_ratio: unlink.cpu_s_per_1000_deleted / rmr.cpu_s_per_1000_deleted,
    })
}

async fn measure(
    cluster: &mut Cluster,
    session: &MetaSession,
    args: &RmrArgs,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<Way> {
    let own = std::process::id();
    let mut cpu = || Ok::<_, anyhow::Error>(cluster.cpu_seconds()? + cpu_seconds(own)?);
    let (begin, before) = (Instant::now(), cpu()?);
    work().await?;
    let (took, until_answered) = (begin.elapsed(), cpu()? - before);
    deleted(session).await?;
    let until_deleted = cpu()? - before;
    let thousands = args.files as f64 / 1000.0;
    Ok(Way {
        files_per_s: args.files as f64 / took.as_secs_f64(),
        cpu_s_per_1000: until_answered / thousands,
        cpu_s_per_1000_deleted: until_deleted / thousands,
    })
}

/// Waits until nothing is there but the root.
async fn deleted(session: &MetaSession) -> Result<()> {
    wait::until("files to be deleted", PATIENCE, async || {
        let told = session.query(Caller::root(), QueryBody::StatVolume).await?;
        Ok(match told {
            Answer::Stat(stat) if stat.inodes == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}

fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(|refusal| anyhow!("{text}: {refusal}"))
}

fn file_name(number: u64) -> Result<Name> {
    name(&format!("file.{number:010}"))
}

/// Does something with each number below a count, so many at once.
async fn each<F>(count: u64, threads: u16, work: impl Fn(u64) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    use futures::stream::{self, StreamExt as _, TryStreamExt as _};
    let working = stream::iter(0..count).map(|number| {
        let task = tokio::spawn(work(number));
        async move { task.await.context("a task ended early")? }
    });
    let mut working = working.buffer_unordered(usize::from(threads));
    while working.try_next().await?.is_some() {}
    Ok(())
}

/// The directories of a tree that is made: its own, and those in it.
async fn make(session: &MetaSession, args: &RmrArgs) -> Result<Arc<Vec<Ino>>> {
    let top = create(session, Ino::ROOT, name(TREE)?, NewNode::Directory).await?;
    let mut dirs = Vec::new();
    for number in 0..args.dirs {
        let name = name(&format!("dir.{number}"))?;
        dirs.push(create(session, top, name, NewNode::Directory).await?);
    }
    let dirs = Arc::new(dirs);
    each(args.files, args.threads, |number| {
        let (session, dir) = (session.clone(), dir_of(&dirs, number));
        async move {
            let made = create(&session, dir, file_name(number)?, NewNode::Regular);
            made.await.map(drop)
        }
    })
    .await?;
    Ok(dirs)
}

fn dir_of(dirs: &[Ino], number: u64) -> Ino {
    let at = number % (dirs.len() as u64);
    dirs[usize::try_from(at).unwrap_or_default()]
}

async fn create(session: &MetaSession, parent: Ino, name: Name, node: NewNode) -> Result<Ino> {
    let create = Create {
        parent,
        name,
        mode: 0o755,
        node,
        masked: 0,
        existing: Existing::Refuse,
    };
    let made = session.execute(Caller::root(), Operation::Create(create));
    match made.await? {
        Success::Entry { attr, .. } => Ok(attr.ino),
        other => Err(anyhow!("what was made is {other:?}")),
    }
}

/// Unlinks the files one by one, and then what is left.
async fn unlink(session: &MetaSession, dirs: Arc<Vec<Ino>>, args: &RmrArgs) -> Result<()> {
    each(args.files, args.threads, |number| {
        let (session, parent) = (session.clone(), dir_of(&dirs, number));
        async move {
            let name = file_name(number)?;
            let unlink = Operation::Unlink { parent, name };
            session.execute(Caller::root(), unlink).await?;
            Ok(())
        }
    })
    .await?;
    let body = QueryBody::Lookup {
        parent: Ino::ROOT,
        name: name(TREE)?,
    };
    let Answer::Attr(top) = session.query(Caller::root(), body).await? else {
        return Err(anyhow!("the tree is no file"));
    };
    each(args.dirs, args.threads, |number| {
        let (session, parent) = (session.clone(), top.ino);
        async move {
            let name = name(&format!("dir.{number}"))?;
            let rmdir = Operation::Rmdir { parent, name };
            session.execute(Caller::root(), rmdir).await?;
            Ok(())
        }
    })
    .await?;
    let (parent, name) = (Ino::ROOT, name(TREE)?);
    let rmdir = Operation::Rmdir { parent, name };
    session.execute(Caller::root(), rmdir).await?;
    Ok(())
}

/// Removes the whole tree as `curlew rmr` does.
async fn remove(session: &MetaSession, args: &RmrArgs) -> Result<()> {
    let doomed = Doomed {
        parent: Ino::ROOT,
        name: name(TREE)?,
        skip_trash: false,
    };
    let mut gone = 0;
    let mut wrong = None;
    let mut tell = |event| match event {
        TreeEvent::Removed { files, .. } => gone += files,
        other => wrong = Some(format!("{other:?}")),
    };
    let in_flight = usize::from(args.rmr_threads);
    let caller = Caller::root();
    session
        .remove_tree(&caller, doomed, in_flight, &mut tell)
        .await?;
    ensure!(
        wrong.is_none() && gone == args.files,
        "{gone} went, {wrong:?}"
    );
    Ok(())
}
