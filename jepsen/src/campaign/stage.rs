//! The steps of a run.

use super::client::open;
use super::nemesis::{Fault, NODES, Nemesis, NemesisReport, torment};
use super::outcome::{Calls, Outcome};
use super::scene::Scene;
use super::work::{Place, Work, Workload, word};
use crate::checker::Verdict;
use crate::cluster::ClusterOptions;
use crate::history::{Entry, Recorder, write_edn, write_json_lines};
use crate::network::Network;
use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const CLIENTS: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(60);
/// Answered calls for each second of a run, below which it tells too little.
const CALLS_PER_SECOND_MIN: u64 = 20;
/// The longest that a run may be without a fault, on the average.
const SECONDS_PER_FAULT_MAX: u64 = 10;
/// Problems that are printed.
const PROBLEMS_SHOWN: usize = 20;

/// What `jepsen run` was asked to do.
#[derive(Clone, Copy, Debug)]
pub struct CampaignOptions {
    /// What clients do.
    pub workload: Workload,
    /// What hurts the cluster.
    pub nemesis: Nemesis,
    /// How long.
    pub time: Duration,
    /// Answered calls, below which the run tells too little.
    pub calls_min: u64,
    /// Where randomness begins. Clients and faults choose the same with the same seed; when the
    /// system runs them is its own business.
    pub seed: u64,
}

/// Runs a workload and checks it.
///
/// # Errors
/// When the cluster cannot be started or healed: then nothing can be said.
pub async fn run(options: CampaignOptions, network: &Network) -> Result<(Verdict, Outcome)> {
    let CampaignOptions {
        workload,
        nemesis,
        time,
        calls_min: _,
        seed,
    } = options;
    println!(
        "run: {workload:?} under {nemesis:?} for {} s, seed {seed}",
        time.as_secs()
    );
    println!("network: {network}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut fault = nemesis.fault();
    let work = workload.work();
    if let Some(why) = fault.as_ref().and_then(|fault| fault.missing()) {
        bail!("{nemesis:?} cannot be had here: {why}");
    }
    let cluster_options = |name: &str, nodes| {
        let mut options = ClusterOptions {
            snapshot_entries: Some(2_000),
            hub: network.hub(),
            ..ClusterOptions::new(name, nodes)
        };
        if let Some(fault) = &fault {
            fault.prepare(&mut options);
        }
        options
    };
    let nodes = fault.as_ref().map_or(NODES, |fault| fault.nodes(&mut rng));
    let takes_data = fault.as_ref().is_some_and(|fault| fault.takes_data());
    let mirror_nodes = if takes_data || rng.random_bool(0.5) {
        NODES
    } else {
        1
    };
    let counts = (nodes, mirror_nodes);
    let mut scene = Scene::start(work.setting(), &cluster_options, counts).await?;
    let ended = through(&mut scene, &work, options, &mut fault, rng).await;
    // It holds what the scene must end before the clusters do.
    drop(fault);
    let (verdict, outcome) = ended.inspect_err(|_| scene.keep())?;
    if let Verdict::Violation(violation) = &verdict {
        for problem in violation.problems.iter().take(PROBLEMS_SHOWN) {
            println!("problem: {problem}");
        }
    }
    if let Verdict::Unknown(why) = &verdict {
        println!("the run tells too little: {why}");
    }
    if !verdict.is_ok() {
        println!("the run's files are kept in {}", scene.dir().display());
        scene.keep();
    }
    Ok((verdict, outcome))
}

/// The last line of a run.
pub fn last_line(verdict: &Verdict) -> String {
    format!("verdict: {}", word(verdict))
}

async fn through(
    scene: &mut Scene,
    work: &Arc<dyn Work>,
    options: CampaignOptions,
    fault: &mut Option<Box<dyn Fault>>,
    mut rng: StdRng,
) -> Result<(Verdict, Outcome)> {
    let place = prepare(scene, work, options.time).await?;
    let clients = start_clients(work, &place, options.seed);
    let (recorder, end) = (&place.recorder, place.end);
    let report = torment(scene, options.nemesis, fault, &mut rng, recorder, end).await?;
    scene.healed().await?;
    let mut problems = Vec::new();
    for client in clients {
        let ended = tokio::time::timeout(PATIENCE, client).await;
        problems.extend(ended.context("a client hangs after all was healed")???);
    }
    let final_read = work.final_read(place.clone()).await?;
    match scene.agreed().await {
        Ok(agreement) => println!("agreement: {agreement}"),
        Err(error) => problems.push(format!("{error:#}")),
    }
    let entries = place.recorder.entries();
    keep(scene.dir(), &entries)?;
    println!("nemesis: {report:?}");
    println!("calls: {:?}", Calls::of(&entries));
    let verdict = Verdict::of(problems).and(work.check(&entries));
    let verdict = verdict.and(coverage(&entries, &report, final_read, options));
    let outcome = Outcome::new(options, &verdict, &entries, report.spans);
    Ok((verdict, outcome))
}

async fn prepare(scene: &Scene, work: &Arc<dyn Work>, time: Duration) -> Result<Place> {
    let url = scene.origin().url("vol");
    let recorder = Recorder::new();
    let session = open(&url).await?;
    work.prepare(&session, &recorder).await?;
    session.close().await;
    Ok(Place {
        url,
        mirror_url: scene.mirror_url(),
        extras: scene.extras.clone(),
        recorder,
        end: Instant::now() + time,
    })
}

fn start_clients(
    work: &Arc<dyn Work>,
    place: &Place,
    seed: u64,
) -> Vec<JoinHandle<Result<Vec<String>>>> {
    let start = |index: u64| {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(index + 1));
        let (work, place) = (Arc::clone(work), place.clone());
        let number = usize::try_from(index).unwrap_or(usize::MAX);
        tokio::spawn(async move { work.client(number, place, rng).await })
    };
    (0..CLIENTS).map(start).collect()
}

/// A run that did not exercise what it is about says nothing.
fn coverage(
    entries: &[Entry],
    report: &NemesisReport,
    final_read: bool,
    options: CampaignOptions,
) -> Verdict {
    let seconds = options.time.as_secs();
    let enough = options.calls_min.max(CALLS_PER_SECOND_MIN * seconds);
    let faults = u32::try_from(seconds / SECONDS_PER_FAULT_MAX).unwrap_or(u32::MAX);
    let answered = Calls::of(entries).ok;
    let gap = if !final_read {
        Some("the final read was not answered".to_owned())
    } else if answered < enough {
        Some(format!(
            "{answered} calls were answered, {enough} are needed"
        ))
    } else if report.gap.is_none() && options.nemesis != Nemesis::None && report.faults < faults {
        Some(format!("{} faults, {faults} are needed", report.faults))
    } else {
        report.gap.clone()
    };
    gap.map_or(Verdict::Ok, Verdict::Unknown)
}

/// Writes the history for us, as JSON lines, and for the checkers of others, as EDN.
fn keep(dir: &Path, entries: &[Entry]) -> Result<()> {
    let open = |name: &str| {
        let path = dir.join(name);
        let file = File::create(&path);
        file.map(BufWriter::new)
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write_json_lines(entries, open("history.jsonl")?)?;
    write_edn(entries, open("history.edn")?)?;
    Ok(())
}
