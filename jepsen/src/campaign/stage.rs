//! The steps of a run.

use super::client::open;
use super::mounts::Ending;
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
use tokio::task::JoinSet;

/// What clients give back: answers that are wrong by themselves.
type Clients = JoinSet<Result<Vec<String>>>;

const CLIENTS: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to tell a number.
const ASK: Duration = Duration::from_secs(2);
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
    /// Whether leaders answer reads under leases.
    pub lease_reads: bool,
    /// Where randomness begins. Clients and faults choose the same with the same seed; when the
    /// system runs them is its own business.
    pub seed: u64,
}

/// Runs a workload and checks it. Of a run that breaks off, what its clients were told until then is
/// checked all the same.
///
/// # Errors
/// When the cluster cannot be started: then nothing can be said.
pub async fn run(options: CampaignOptions, network: &Network) -> Result<(Verdict, Outcome)> {
    let CampaignOptions {
        workload,
        nemesis,
        time,
        calls_min: _,
        lease_reads,
        seed,
    } = options;
    let leases = if lease_reads {
        ", leases of leaders"
    } else {
        ""
    };
    println!(
        "run: {workload:?} under {nemesis:?} for {} s, seed {seed}{leases}",
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
            lease_reads,
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
    let _ending = Ending::of(scene.extras.mounts.clone());
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
    let (report, hurt) = torment(scene, options.nemesis, fault, &mut rng, recorder, end).await;
    let mut seen = Seen::default();
    let ended = seen.finish(scene, work, &place, clients, hurt).await;
    // Also of a run that broke off: this may be why.
    let looked = panics(scene).map(|found| seen.problems.extend(found));
    let ended = ended.and(looked);
    let entries = place.recorder.entries();
    keep(scene.dir(), &entries)?;
    println!("nemesis: {report:?}");
    println!("calls: {:?}", Calls::of(&entries));
    println!("lease reads: {}", seen.lease_reads);
    let covered = ended.map(|()| coverage(&entries, &report, &seen, options));
    let gave_up = seen.gave_up;
    let verdict = judge(seen.problems, covered, || {
        if gave_up {
            Verdict::Unknown("the last reads broke off".to_owned())
        } else {
            work.check(&entries)
        }
    });
    let mut outcome = Outcome::new(options, &verdict, &entries, report.spans);
    outcome.notes = work.notes();
    Ok((verdict, outcome))
}

/// What was seen beside the history.
#[derive(Default)]
struct Seen {
    /// What is wrong.
    problems: Vec<String>,
    /// Whether everything was read at the end.
    final_read: bool,
    /// Reads that the origin's nodes answered under a leader's lease since they were started last.
    lease_reads: u64,
    /// Whether the workload broke off in the middle of that: what it has then collected beside the
    /// history is not whole, and no check of it says anything.
    gave_up: bool,
}

impl Seen {
    /// Waits for the clients, and looks at everything once more if all was hurt and healed as it
    /// should be.
    async fn finish(
        &mut self,
        scene: &mut Scene,
        work: &Arc<dyn Work>,
        place: &Place,
        clients: Clients,
        hurt: Result<()>,
    ) -> Result<()> {
        let healed = match hurt {
            Ok(()) => scene.healed().await,
            broken => broken,
        };
        // Whatever broke, what clients were told counts.
        let until = place.end.max(Instant::now()) + PATIENCE;
        let left = self.wait_for(clients, until).await;
        healed?;
        left?;
        let read = work.final_read(place.clone()).await;
        self.gave_up = read.is_err();
        self.final_read = read?;
        self.lease_reads = scene.origin().lease_reads(ASK).await;
        match scene.agreed().await {
            Ok(agreement) => println!("agreement: {agreement}"),
            Err(error) => self.problems.push(format!("{error:#}")),
        }
        Ok(())
    }

    /// Waits until all clients have left, and gives the first error of one that could not go on.
    async fn wait_for(&mut self, mut clients: Clients, until: Instant) -> Result<()> {
        let mut left = Ok(());
        loop {
            let next = tokio::time::timeout_at(until.into(), clients.join_next()).await;
            let Some(ended) = next.context("a client hangs after the end of the run")? else {
                return left;
            };
            match ended.context("a client panicked") {
                Ok(Ok(problems)) => self.problems.extend(problems),
                Ok(Err(error)) | Err(error) => left = left.and(Err(error)),
            }
        }
    }
}

/// Panics of all nodes and mounts.
fn panics(scene: &mut Scene) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for number in 0..scene.count() {
        found.extend(scene.side(number).panics()?);
    }
    Ok(found)
}

/// All together. That a run broke off, or what it covered, is the reason that is told if nothing is
/// wrong, whatever the check then cannot know.
fn judge(
    problems: Vec<String>,
    covered: Result<Verdict>,
    check: impl FnOnce() -> Verdict,
) -> Verdict {
    let found = Verdict::of(problems);
    match covered {
        Ok(covered) => found.and(check()).and(covered),
        Err(broken) => {
            let why = format!("{broken:#}");
            println!("the run broke off: {why}");
            found.and(Verdict::Unknown(why)).and(check())
        }
    }
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

fn start_clients(work: &Arc<dyn Work>, place: &Place, seed: u64) -> Clients {
    let mut clients = Clients::new();
    for index in 0..CLIENTS {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(index + 1));
        let (work, place) = (Arc::clone(work), place.clone());
        let number = usize::try_from(index).unwrap_or(usize::MAX);
        clients.spawn(async move { work.client(number, place, rng).await });
    }
    clients
}

/// A run that did not exercise what it is about says nothing.
fn coverage(
    entries: &[Entry],
    report: &NemesisReport,
    seen: &Seen,
    options: CampaignOptions,
) -> Verdict {
    let seconds = options.time.as_secs();
    let enough = options.calls_min.max(CALLS_PER_SECOND_MIN * seconds);
    let faults = u32::try_from(seconds / SECONDS_PER_FAULT_MAX).unwrap_or(u32::MAX);
    let answered = Calls::of(entries).ok;
    let gap = if !seen.final_read {
        Some("the final read was not answered".to_owned())
    } else if options.lease_reads && seen.lease_reads == 0 {
        Some("no read was answered under a lease".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;
    use std::future::pending;

    fn broken() -> Result<Verdict> {
        Err(anyhow!("a node does not come back"))
    }

    #[test]
    fn what_is_wrong_counts_although_the_run_broke_off() {
        let wrong = || Verdict::of(vec!["lost".to_owned()]);
        assert_eq!(judge(Vec::new(), broken(), wrong), wrong());
        assert_eq!(
            judge(vec!["lost".to_owned()], broken(), || Verdict::Ok),
            wrong()
        );
        assert_eq!(judge(Vec::new(), Ok(Verdict::Ok), wrong), wrong());
    }

    #[test]
    fn a_run_that_broke_off_is_no_pass_and_says_why() {
        let why = Verdict::Unknown("a node does not come back".to_owned());
        let unclear = || Verdict::Unknown("nobody read".to_owned());
        assert_eq!(judge(Vec::new(), broken(), || Verdict::Ok), why);
        assert_eq!(judge(Vec::new(), broken(), unclear), why);
        assert_eq!(judge(Vec::new(), Ok(Verdict::Ok), unclear), unclear());
        assert!(judge(Vec::new(), Ok(Verdict::Ok), || Verdict::Ok).is_ok());
    }

    #[tokio::test]
    async fn what_a_client_found_counts_whatever_others_do() {
        let mut clients = Clients::new();
        clients.spawn(async { Ok(vec!["wrong".to_owned()]) });
        clients.spawn(async { Err(anyhow!("no leader")) });
        let mut seen = Seen::default();
        let left = seen.wait_for(clients, Instant::now() + PATIENCE).await;
        assert!(left.is_err());
        assert_eq!(seen.problems, ["wrong"]);
    }

    #[tokio::test]
    async fn a_client_that_hangs_is_not_waited_for_for_ever() {
        let mut clients = Clients::new();
        clients.spawn(pending());
        let mut seen = Seen::default();
        let left = seen.wait_for(clients, Instant::now()).await;
        assert!(format!("{:#}", left.expect_err("it hangs")).contains("hangs"));
    }
}
