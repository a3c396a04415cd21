//! The steps of a run.

use super::client::{Shared, open};
use super::directory_set::{self, SetShared};
use super::inode_register::{self, RegisterShared, Role};
use super::nemesis::{Nemesis, NemesisReport, torment};
use crate::cluster::{Cluster, ClusterOptions};
use crate::history::{Edn, End, Entry, Verdict, check_register, check_set, edn};
use crate::writer::make;
use anyhow::{Context, Result};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const CLIENTS: u64 = 6;
const REGISTERS: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);
/// Answered calls for each second of a run, below which it tells too little.
const CALLS_PER_SECOND_MIN: usize = 20;

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Unique names in one directory.
    DirectorySet,
    /// Modification times of a few inodes.
    InodeRegister,
}

/// What `jepsen run` was asked to do.
#[derive(Clone, Copy, Debug)]
pub struct CampaignOptions {
    /// What clients do.
    pub workload: Workload,
    /// What hurts the cluster.
    pub nemesis: Nemesis,
    /// How long.
    pub time: Duration,
    /// Where randomness begins. Clients and faults choose the same with the same seed; when the
    /// system runs them is its own business.
    pub seed: u64,
}

/// What a run gave, before coverage is looked at.
struct Finding {
    problems: Vec<String>,
    calls: Calls,
    final_read: bool,
}

/// How many calls ended how.
#[derive(Clone, Copy, Default, Debug)]
struct Calls {
    ok: usize,
    fail: usize,
    unknown: usize,
}

/// Runs a workload and checks it.
///
/// # Errors
/// When the cluster cannot be started or healed: then nothing can be said.
pub async fn run(options: CampaignOptions) -> Result<Verdict> {
    let CampaignOptions {
        workload,
        nemesis,
        time,
        seed,
    } = options;
    println!(
        "run: {workload:?} under {nemesis:?} for {} s, seed {seed}",
        time.as_secs()
    );
    let cluster_options = ClusterOptions {
        snapshot_entries: Some(2_000),
        partitions: nemesis == Nemesis::Partition,
        ..ClusterOptions::new("run", 3)
    };
    let mut cluster = Cluster::start(cluster_options).await?;
    let ended = match workload {
        Workload::DirectorySet => run_set(&mut cluster, options).await,
        Workload::InodeRegister => run_register(&mut cluster, options).await,
    };
    let (mut finding, report) = ended.inspect_err(|_| cluster.keep())?;
    match cluster.digests_equal(PATIENCE).await {
        Ok(agreement) => println!("agreement: {agreement}"),
        Err(error) => finding.problems.push(format!("{error:#}")),
    }
    println!("nemesis: {report:?}");
    println!("calls: {:?}", finding.calls);
    let verdict = judge(&finding, report, options);
    if verdict != Verdict::Ok {
        cluster.keep();
    }
    Ok(verdict)
}

fn judge(finding: &Finding, report: NemesisReport, options: CampaignOptions) -> Verdict {
    for problem in finding.problems.iter().take(20) {
        println!("problem: {problem}");
    }
    if !finding.problems.is_empty() {
        return Verdict::Violation;
    }
    let enough = CALLS_PER_SECOND_MIN * usize::try_from(options.time.as_secs()).unwrap_or(0);
    let gap = if !finding.final_read {
        Some("the final read was not answered".to_owned())
    } else if finding.calls.ok < enough {
        Some(format!(
            "{} calls were answered, {enough} are needed",
            finding.calls.ok
        ))
    } else {
        report.gap(options.nemesis)
    };
    match gap {
        Some(gap) => {
            println!("the run tells too little: {gap}");
            Verdict::Unknown
        }
        None => Verdict::Ok,
    }
}

async fn run_set(
    cluster: &mut Cluster,
    options: CampaignOptions,
) -> Result<(Finding, NemesisReport)> {
    cluster.format("vol").await?;
    let url = cluster.url("vol");
    let session = open(&url).await?;
    let dir = make(&session, Ino::ROOT, "set", NewNode::Directory)
        .await?
        .ino;
    session.close().await;
    let shared: Arc<SetShared> = Arc::new(Shared::new());
    let next = Arc::new(AtomicU64::new(1));
    let end = Instant::now() + options.time;
    let clients = seeds(options.seed).map(|rng| {
        let (url, shared, next) = (url.clone(), Arc::clone(&shared), Arc::clone(&next));
        tokio::spawn(directory_set::work(url, dir, shared, next, rng, end))
    });
    let (problems, report) = through(cluster, options, clients.collect(), end).await?;
    let final_read = directory_set::final_read(&url, dir, &shared).await?;
    let entries = shared.history.entries();
    let found = check_set(&entries);
    Ok((
        conclude(cluster.dir(), &entries, problems, found, final_read)?,
        report,
    ))
}

async fn run_register(
    cluster: &mut Cluster,
    options: CampaignOptions,
) -> Result<(Finding, NemesisReport)> {
    cluster.format("vol").await?;
    let url = cluster.url("vol");
    let session = open(&url).await?;
    let mut registers = Vec::new();
    for index in 0..REGISTERS {
        let ino = make(&session, Ino::ROOT, &format!("r{index}"), NewNode::Regular)
            .await?
            .ino;
        let first = inode_register::set(ino, 0).context("0 is a time")?;
        session
            .execute(Caller::root(), first)
            .await
            .context("cannot set a register to 0")?;
        registers.push(ino);
    }
    session.close().await;
    let shared: Arc<RegisterShared> = Arc::new(Shared::new());
    let next = Arc::new(AtomicU64::new(1));
    let end = Instant::now() + options.time;
    let clients = seeds(options.seed).enumerate().map(|(index, rng)| {
        let (url, shared, next) = (url.clone(), Arc::clone(&shared), Arc::clone(&next));
        tokio::spawn(inode_register::work(
            Role::of(index),
            url,
            registers.clone(),
            shared,
            next,
            rng,
            end,
        ))
    });
    let (problems, report) = through(cluster, options, clients.collect(), end).await?;
    let final_read = inode_register::final_read(&url, &registers, &shared).await?;
    let entries = shared.history.entries();
    let found = check_register(&entries);
    Ok((
        conclude(cluster.dir(), &entries, problems, found, final_read)?,
        report,
    ))
}

/// A random generator for each client.
fn seeds(seed: u64) -> impl Iterator<Item = StdRng> {
    (1..=CLIENTS).map(move |index| StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(index)))
}

/// Lets the nemesis work while the clients do, then heals and waits for both.
async fn through(
    cluster: &mut Cluster,
    options: CampaignOptions,
    clients: Vec<JoinHandle<Result<Vec<String>>>>,
    end: Instant,
) -> Result<(Vec<String>, NemesisReport)> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let report = torment(cluster, options.nemesis, &mut rng, end).await?;
    cluster
        .wait_ready(PATIENCE)
        .await
        .context("the healed cluster does not get ready")?;
    let mut problems = Vec::new();
    for client in clients {
        let ended = tokio::time::timeout(PATIENCE, client).await;
        problems.extend(ended.context("a client hangs after the cluster was healed")???);
    }
    Ok((problems, report))
}

fn conclude<C: Edn<R>, R>(
    dir: &Path,
    entries: &[Entry<C, R>],
    mut problems: Vec<String>,
    found: Vec<String>,
    final_read: bool,
) -> Result<Finding> {
    let path = dir.join("history.edn");
    fs::write(&path, edn(entries)).with_context(|| format!("cannot write {}", path.display()))?;
    problems.extend(found);
    let mut calls = Calls::default();
    for entry in entries {
        match entry.end {
            End::Ok { .. } => calls.ok += 1,
            End::Fail { .. } => calls.fail += 1,
            End::Unknown { .. } => calls.unknown += 1,
        }
    }
    Ok(Finding {
        problems,
        calls,
        final_read,
    })
}
