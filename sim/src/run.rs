//! One run: a stage is built, hurt and healed a few times, and then everything is checked.

use crate::client::{Client, only_reads};
use crate::history::{Recorder, Told, hash};
use crate::invariant::{self, Invariant};
use crate::member::Member;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::operator::Operator;
use crate::oracle;
use crate::side::Side;
use meta_client::{Cluster, MetaUrl, Mirroring, transport};
use meta_core::command::CreateVolume;
use meta_core::ids::Uuid;
use meta_server::ProstCodec;
use meta_server::config::RaftTimes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use turmoil::{Builder, Sim};

/// The volume of every run.
const VOLUME: &str = "vol";
/// How long building the stage may take.
const BUILD_LIMIT: Duration = Duration::from_secs(150);
/// How long a healed stage may take until all is served and applied everywhere.
const CALM_LIMIT: Duration = Duration::from_secs(60);
/// Without any change for so long, nothing is under way any more.
const QUIET: Duration = Duration::from_secs(7);
/// Between two looks of the invariants.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Answers that each client must get after a heal.
const ANSWERS_AFTER_HEAL: u64 = 5;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Everything random follows from it.
    pub seed: u64,
    /// Simulated seconds under faults.
    pub seconds: u64,
}

/// The process ends with this status if simulated time stands still.
pub const STALLED: i32 = 3;
/// Real time without any simulated.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// The seed.
    pub seed: u64,
    /// Nodes of the origin and of the mirror.
    pub nodes: (u64, u64),
    /// Calls that clients made, of these answered, of these with an unknown end.
    pub calls: (usize, usize, usize),
    /// Queries that clients answered from their caches, and recalls that they answered.
    #[serde(default)]
    pub cached: (u64, u64),
    /// Queries that nearest members answered, and that the leader did in their place.
    #[serde(default)]
    pub nearest: (u64, u64),
    /// Reads that leaders answered under leases.
    #[serde(default)]
    pub lease_reads: u64,
    /// Entries that the origin decided.
    pub decided: u64,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u32>,
    /// How often nodes ended by themselves, by the fault that explains it, or in the node's words.
    #[serde(default)]
    pub ends: BTreeMap<String, u32>,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Stands for all that was decided, asked and told.
    pub trace: String,
    /// What did not hold.
    pub violations: Vec<String>,
    /// What the nemesis did, if something did not hold.
    pub story: Vec<String>,
}

impl RunReport {
    /// Of a run that came to no end.
    pub(crate) fn stalled(seed: u64) -> Self {
        let violation = "liveness: simulated time stands still: some task runs without a pause";
        Self::without_run(seed, violation.to_owned())
    }

    /// Of a run of which nothing is known but that it went wrong.
    pub(crate) fn without_run(seed: u64, violation: String) -> Self {
        Self {
            seed,
            violations: vec![violation],
            ..Self::default()
        }
    }
}

/// Everything that a run is about.
pub(crate) struct Stage {
    origin: Side,
    mirror: Option<Side>,
    recorder: Recorder,
    operator: Operator,
    clients: usize,
    times: RaftTimes,
}

impl Stage {
    /// Both clusters.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.origin).chain(&self.mirror)
    }

    pub(crate) fn origin(&self) -> &Side {
        &self.origin
    }

    /// Whether leaders may answer under leases.
    pub(crate) fn has_lease_reads(&self) -> bool {
        self.times.lease_reads
    }

    /// How long anything may take in a cluster that is whole.
    fn calm_limit(&self) -> Duration {
        CALM_LIMIT + Duration::from_millis(self.times.election_max_ms) * 8
    }

    pub(crate) fn mirror(&self) -> Option<&Side> {
        self.mirror.as_ref()
    }

    /// Whoever takes in nodes that lost their data.
    pub(crate) fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The nodes of both.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.sides().flat_map(|side| &side.members)
    }

    /// Hosts of clients that only read.
    pub(crate) fn readers(&self) -> impl Iterator<Item = String> {
        let readers = (0..self.clients).filter(|number| only_reads(*number));
        readers.map(client_host)
    }

    /// All hosts, those of clients too.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let nodes = self.members().map(|member| member.host.clone());
        nodes.chain((0..self.clients).map(client_host)).collect()
    }
}

/// Every other run has leaders that answer under leases. With the usual times such a lease is over
/// before a successor changes anything, as that waits for what clients have leased: so half of these
/// runs have elections that take many seconds.
fn raft_times(seed: u64) -> RaftTimes {
    let usual = RaftTimes::default();
    let (election_min_ms, election_max_ms) = if seed.is_multiple_of(4) {
        (300, 12_000)
    } else {
        (usual.election_min_ms, usual.election_max_ms)
    };
    RaftTimes {
        lease_reads: seed.is_multiple_of(2),
        election_min_ms,
        election_max_ms,
        ..usual
    }
}

fn client_host(number: usize) -> String {
    format!("c{number}")
}

/// Ticks of this process's run.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Ends the process if a task never gives way: nothing else could.
fn watch_for_stalls() {
    std::thread::spawn(|| {
        let mut seen = u64::MAX;
        loop {
            let ticks = TICKS.load(Ordering::Relaxed);
            if ticks == seen {
                eprintln!("simulated time stands still");
                std::process::exit(STALLED);
            }
            seen = ticks;
            std::thread::sleep(STALL_LIMIT);
        }
    });
}

/// Panics of tasks, which end nothing by themselves.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// Runs one seed. A process does this once.
pub fn run(options: RunOptions) -> RunReport {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    watch_for_stalls();
    let installed = transport::install(Arc::new(Network));
    let mut run = Run::build(options);
    if installed.is_err() {
        run.violations
            .push("a process can do one run only".to_owned());
    }
    run.play();
    run.report()
}

struct Run {
    options: RunOptions,
    sim: Sim<'static>,
    stage: Stage,
    nemesis: Nemesis,
    invariants: Vec<Box<dyn Invariant>>,
    stop: Arc<AtomicBool>,
    violations: Vec<String>,
}

impl Run {
    fn build(options: RunOptions) -> Self {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let mut sim = Builder::new()
            .rng_seed(rng.random())
            .simulation_duration(Duration::from_secs(86_400))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_micros(100))
            .max_message_latency(Duration::from_millis(rng.random_range(1..30)))
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        let nodes = [3, 3, 3, 5][rng.random_range(0..4)];
        let mirrors = [0, 1, 3][rng.random_range(0..3)];
        let times = raft_times(options.seed);
        let origin = Side::start(&mut sim, 'n', nodes, rng.random(), &times);
        let mirror =
            (mirrors > 0).then(|| Side::start(&mut sim, 'm', mirrors, rng.random(), &times));
        let clients = rng.random_range(4..8);
        let stage = Stage {
            origin,
            mirror,
            recorder: Recorder::default(),
            operator: Operator::default(),
            clients,
            times,
        };
        let mut run = Self {
            options,
            sim,
            stage,
            nemesis: Nemesis::new(StdRng::seed_from_u64(rng.random())),
            invariants: invariant::all(),
            stop: Arc::new(AtomicBool::new(false)),
            violations: Vec::new(),
        };
        run.nemesis.before_the_beginning(&run.stage);
        run.initialise();
        run.start_operator();
        run.start_clients(&mut rng);
        run
    }

    /// Gives both clusters their identity, makes the volume and its mirror.
    fn initialise(&mut self) {
        let origin = self.stage.origin.url(VOLUME);
        let mirror = self.stage.mirror.as_ref().map(|side| side.url(VOLUME));
        let done = Arc::new(AtomicBool::new(false));
        let all_done = Arc::clone(&done);
        self.sim.client("admin", async move {
            // The nodes come up first.
            tokio::time::sleep(Duration::from_millis(500)).await;
            prepare(&origin, mirror.as_deref()).await?;
            all_done.store(true, Ordering::Relaxed);
            Ok(())
        });
        let until = self.sim.elapsed() + BUILD_LIMIT;
        while !done.load(Ordering::Relaxed) && self.is_right() {
            self.step();
            if self.sim.elapsed() > until {
                self.violations
                    .push("the stage was not built in time".to_owned());
            }
        }
    }

    fn start_operator(&mut self) {
        let operator = self.stage.operator.clone();
        self.sim.host("operator", move || {
            let work = operator.clone().run();
            async move {
                work.await;
                Ok(())
            }
        });
    }

    fn start_clients(&mut self, rng: &mut StdRng) {
        for number in 0..self.stage.clients {
            let at_mirror = number % 4 == 3;
            let mirror = self.stage.mirror.as_ref().filter(|_| at_mirror);
            let client = Client {
                number,
                url: self.stage.origin.url(VOLUME),
                mirror: mirror.map(|side| side.url(VOLUME)),
                recorder: self.stage.recorder.clone(),
                ledger: self.stage.origin.ledger.clone(),
                stop: Arc::clone(&self.stop),
                seed: rng.random(),
            };
            self.sim.host(client_host(number), move || {
                let calls = client.clone().run();
                async move {
                    calls.await;
                    Ok(())
                }
            });
        }
    }

    fn is_right(&self) -> bool {
        self.violations.is_empty()
    }

    /// One tick of everything.
    fn step(&mut self) {
        TICKS.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.sim.step() {
            self.violations.push(format!("a host failed: {error}"));
        }
        if PANICS.load(Ordering::Relaxed) > 0 && self.is_right() {
            self.violations
                .push("a task panicked: see standard error".to_owned());
        }
        self.violations.extend(self.nemesis.problems(&self.stage));
        let now = self.sim.elapsed();
        if now.as_millis().is_multiple_of(LOOK_EVERY.as_millis()) {
            self.look(|rule, stage| rule.look(stage));
        }
    }

    /// As [`Self::step`]; who ends by itself, by what was done before, is started again.
    fn step_healed(&mut self) {
        self.step();
        let troubled = |member: &Member| member.ended().is_some() || member.disk.has_halted();
        if self.stage.operator.is_told() || self.stage.members().any(troubled) {
            self.nemesis.heal(&mut self.sim, &self.stage);
        }
    }

    fn look(&mut self, look: impl Fn(&mut dyn Invariant, &Stage) -> Vec<String>) {
        for rule in &mut self.invariants {
            let name = rule.name();
            let wrong = look(&mut **rule, &self.stage);
            let wrong = wrong.into_iter().map(|wrong| format!("{name}: {wrong}"));
            self.violations.extend(wrong);
        }
        for side in self.stage.sides() {
            if self.violations.is_empty() {
                self.violations.extend(side.ledger.problems());
            }
        }
    }

    fn play(&mut self) {
        let phases = 3;
        let length = Duration::from_secs(self.options.seconds) / phases;
        for _ in 0..phases {
            let until = self.sim.elapsed() + length;
            while self.sim.elapsed() < until && self.is_right() {
                self.nemesis.act(&mut self.sim, &self.stage);
                self.step();
            }
            if !self.is_right() {
                return;
            }
            self.nemesis.heal(&mut self.sim, &self.stage);
            self.wait_for_service();
        }
        self.stop.store(true, Ordering::Relaxed);
        self.wait_for_calm();
        if self.is_right() {
            self.look(|rule, stage| rule.look_at_calm(stage));
        }
        if self.is_right() {
            let decided = self.stage.origin.ledger.decided();
            let calls = self.stage.recorder.calls();
            self.violations
                .extend(oracle::check(&decided, &calls, &ProstCodec));
        }
    }

    /// Liveness: what is whole again serves everybody.
    fn wait_for_service(&mut self) {
        let recorder = self.stage.recorder.clone();
        let before: Vec<_> = (0..self.stage.clients)
            .map(|client| recorder.answered(client))
            .collect();
        self.wait(
            "every client is served, and every node is a member",
            move |stage| {
                if stage.operator.is_busy() {
                    return false;
                }
                let served = before.iter().enumerate();
                let mut served = served
                    .map(|(client, count)| recorder.answered(client) >= count + ANSWERS_AFTER_HEAL);
                served.all(|served| served)
            },
        );
    }

    /// Waits until all copies have all there is, and no client has a call under way.
    fn wait_for_calm(&mut self) {
        let mut still = (Duration::ZERO, Vec::new());
        let started = self.sim.elapsed();
        while self.is_right() {
            self.step_healed();
            let now = self.sim.elapsed();
            let places = places(&self.stage);
            if places != still.1 {
                still = (now, places);
            }
            let agree = all_agree(&still.1) && !self.stage.operator.is_busy();
            // Clients give up within their limit; reaping and trimming come to an end.
            if agree && now > still.0 + QUIET {
                return;
            }
            if now > started + self.stage.calm_limit() {
                let places = &still.1;
                self.violations.push(format!(
                    "liveness: the copies do not come together: {places:?}"
                ));
            }
        }
    }

    fn wait(&mut self, what: &str, mut reached: impl FnMut(&Stage) -> bool) {
        let until = self.sim.elapsed() + self.stage.calm_limit();
        while self.is_right() && !reached(&self.stage) {
            self.step_healed();
            if self.sim.elapsed() > until {
                self.violations
                    .push(format!("liveness: not reached in a healed cluster: {what}"));
            }
        }
    }

    fn report(self) -> RunReport {
        let calls = self.stage.recorder.calls();
        let answered = calls.iter();
        let answered = answered.filter(|c| matches!(c.told, Told::Done(_) | Told::Answered(_)));
        let unknown = calls.iter().filter(|call| call.told == Told::Unknown);
        let ledgers: Vec<_> = self.stage.sides().map(|side| side.ledger.trace()).collect();
        let trace = hash(&(ledgers, self.stage.recorder.trace()));
        let faults = self.nemesis.counts().iter();
        let failed = !self.violations.is_empty();
        let nodes = |side: Option<&Side>| side.map_or(0, |side| side.members.len() as u64);
        RunReport {
            seed: self.options.seed,
            nodes: (nodes(Some(&self.stage.origin)), nodes(self.stage.mirror())),
            calls: (calls.len(), answered.count(), unknown.count()),
            cached: self.stage.recorder.cached(),
            nearest: self.stage.recorder.nearest(),
            lease_reads: self.stage.members().map(Member::lease_reads).sum(),
            decided: self.stage.origin.ledger.highest(),
            faults: faults.map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
            ends: self.nemesis.ends().clone(),
            simulated_ms: u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX),
            trace: format!("{trace:016x}"),
            story: if failed {
                self.nemesis.trace().to_vec()
            } else {
                Vec::new()
            },
            violations: self.violations,
        }
    }
}

/// How far each node is: cluster, host, and what it applied; a mirror's rows as of their change.
fn places(stage: &Stage) -> Vec<(usize, u64, Option<u64>)> {
    let mut places = Vec::new();
    for (at, side) in stage.sides().enumerate() {
        for member in &side.members {
            let Some(reader) = member.reader() else {
                places.push((at, 0, None));
                continue;
            };
            let seq = reader.with_view(|view| {
                let volumes = meta_core::read::summary(view)?;
                Ok(volumes.first().map(|volume| volume.token.seq.0))
            });
            let seq = seq.and_then(|seq| seq).unwrap_or(None);
            places.push((at, reader.applied().map_or(0, |id| id.index), seq));
        }
    }
    places
}

fn all_agree(places: &[(usize, u64, Option<u64>)]) -> bool {
    let first_of = |at: usize| places.iter().find(|place| place.0 == at);
    let seqs_agree = places.windows(2).all(|pair| pair[0].2 == pair[1].2);
    let applied_agree = places
        .iter()
        .all(|place| first_of(place.0).is_some_and(|first| first.1 == place.1));
    seqs_agree && applied_agree && places.iter().all(|place| place.2.is_some())
}

async fn prepare(origin: &str, mirror: Option<&str>) -> turmoil::Result {
    let limit = Duration::from_secs(60);
    let url: MetaUrl = origin.parse()?;
    meta_client::init(&url.addrs[0], limit).await?;
    let cluster = Cluster::connect(&url.addrs, limit).await?;
    let create = CreateVolume {
        name: url.volume.clone(),
        uuid: Uuid(rand::random()),
        block_bytes: 4 << 20,
        storage: b"{}".to_vec(),
    };
    cluster.create_volume(create).await?;
    if let Some(mirror) = mirror {
        let mirror: MetaUrl = mirror.parse()?;
        meta_client::init(&mirror.addrs[0], limit).await?;
        let mirroring = Mirroring::connect(&url, &mirror, limit).await?;
        mirroring.add("copy").await?;
    }
    Ok(())
}
