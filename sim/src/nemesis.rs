//! What hurts the stage, as the seed decides.

use crate::ends::{End, Ends, FAILING};
use crate::member::Member;
use crate::run::Stage;
use crate::side::{MANNERS, Side};
use raft_store::simulated::{Crash, DiskManners, Halt};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use turmoil::Sim;

/// Kinds of fault, in the order of the report.
const KINDS: [&str; 22] = [
    "kill",
    "kill-leader",
    "power-loss",
    "power-loss-all",
    "part-halves",
    "part-one",
    "part-leader",
    "part-leader",
    "part-leader",
    "part-client",
    "part-one-way",
    "part-pairs",
    "hold",
    "loss",
    "slow-disk",
    FAILING,
    "crash-before-write",
    "crash-before-report",
    "clock",
    "wiped-disk",
    "flipped-bit",
    "forgetful-disk",
];

/// Where leaders answer under leases: the others forget what these rest on.
const RESTART_OTHERS: &str = "restart-others";
/// Of as many faults as there are kinds, and these, so many are of that kind.
const RESTARTS: usize = 4;

/// The kinds of fault there are.
pub fn fault_kinds() -> impl Iterator<Item = &'static str> {
    let kinds: BTreeSet<_> = KINDS.into_iter().chain([RESTART_OTHERS]).collect();
    kinds.into_iter()
}

/// Two hosts that cannot reach each other, how they cannot.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cut {
    /// What is sent is lost.
    Drop(String, String),
    /// What the first sends to the second is lost.
    OneWay(String, String),
    /// What is sent arrives when the cut is healed.
    Hold(String, String),
}

/// What is to be put right again.
enum Repair {
    Cuts(Vec<Cut>),
    Loss(Vec<(String, String)>),
    Start(String),
    Disk(String),
    Clock(String),
}

/// The faults of a run.
pub(crate) struct Nemesis {
    rng: StdRng,
    next: Duration,
    repairs: Vec<(Duration, Repair)>,
    counts: BTreeMap<&'static str, u32>,
    trace: Vec<String>,
    ends: Ends,
    problems: Vec<String>,
}

impl Nemesis {
    pub(crate) fn new(rng: StdRng) -> Self {
        Self {
            rng,
            next: Duration::ZERO,
            repairs: Vec::new(),
            counts: BTreeMap::new(),
            trace: Vec::new(),
            ends: Ends::default(),
            problems: Vec::new(),
        }
    }

    /// How many faults happened, by kind.
    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, u32> {
        &self.counts
    }

    /// How often nodes ended by themselves, by reason.
    pub(crate) fn ends(&self) -> &BTreeMap<String, u32> {
        self.ends.counts()
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// What was done when, for a reader of a failing seed.
    pub(crate) fn trace(&self) -> &[String] {
        &self.trace
    }

    fn note(&mut self, now: Duration, what: &str) {
        tracing::info!(at_ms = now.as_millis(), what, "nemesis");
        self.trace
            .push(format!("{:>7.3} s  {what}", now.as_secs_f64()));
    }

    /// What nodes made of faults, and should not have: run with damage, see some where none is, or
    /// end for no fault at all.
    pub(crate) fn problems(&self, stage: &Stage) -> Vec<String> {
        let running = stage.members().filter(|member| member.reader().is_some());
        let unfound = running.filter(|member| self.ends.is_damaged(&member.host));
        unfound
            .map(|member| format!("damage not found: {} runs with it", member.host))
            .chain(self.problems.iter().cloned())
            .collect()
    }

    /// Sometimes a cluster begins with a clock that is wrong until the first heal.
    pub(crate) fn before_the_beginning(&mut self, stage: &Stage) {
        let members: Vec<_> = stage.members().collect();
        if self.rng.random_bool(0.8) {
            return;
        }
        let member = members[self.rng.random_range(0..members.len())];
        let host = &member.host;
        self.note(
            Duration::ZERO,
            &format!("the clock of {host} is an hour off"),
        );
        member.clock.put_off(3_600_000);
        let repair = Repair::Clock(host.clone());
        self.repairs.push((Duration::from_secs(20), repair));
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        let now = sim.elapsed();
        self.empty_as_told(sim, stage);
        self.restart_ended(sim, stage);
        self.crash_halted(sim, stage);
        let due: Vec<_> = {
            let (due, later) = std::mem::take(&mut self.repairs)
                .into_iter()
                .partition(|(at, _)| *at <= now);
            self.repairs = later;
            due
        };
        for (_, repair) in due {
            self.repair(sim, stage, repair);
        }
        if now < self.next {
            return;
        }
        self.next = now + self.between(100, 3_000);
        let restarts = if stage.has_lease_reads() { RESTARTS } else { 0 };
        let kind = self.rng.random_range(0..KINDS.len() + restarts);
        let kind = KINDS.get(kind).copied().unwrap_or(RESTART_OTHERS);
        let sides: Vec<&Side> = stage.sides().collect();
        let side = sides[self.rng.random_range(0..sides.len())];
        if self.hurt(sim, stage, side, kind) {
            self.count(kind);
        }
    }

    /// The host crashes, and what waited on its disk does not happen any more.
    fn bring_down(&mut self, sim: &mut Sim<'_>, member: &Member, crash: Crash) {
        sim.crash(member.host.as_str());
        member.crashed(crash);
        self.ends.crashed(&member.host);
    }

    /// Where a log stands still, the power goes.
    fn crash_halted(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        let now = sim.elapsed();
        for member in stage.members() {
            // Also one that has not come up yet: it waits for its disk.
            if member.disk.has_halted() {
                self.note(
                    now,
                    &format!("the power of {} goes at a write", member.host),
                );
                if let Some(kind) = self.ends.halted(&member.host) {
                    self.count(kind);
                }
                self.bring_down(sim, member, Crash::PowerLoss);
                self.later(now, Repair::Start(member.host.clone()));
            }
        }
    }

    /// A node that ended by itself is started again, as a supervisor would; but a fault must explain
    /// why it did.
    fn restart_ended(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        for member in stage.members() {
            let Some(ended) = member.ended() else {
                continue;
            };
            let now = sim.elapsed();
            self.note(now, &format!("{} ended: {ended}", member.host));
            let end = self.ends.judge(&member.host, &ended);
            self.bring_down(sim, member, Crash::PowerLoss);
            match end {
                // The fault counts now that it has happened.
                End::DiskFailed => self.count(FAILING),
                End::FoundDamage => self.give_up_data(stage, member),
                End::Unexplained(problem) => self.problems.push(problem),
            }
            let at = now + self.between(50, 2_000);
            self.repairs.push((at, Repair::Start(member.host.clone())));
        }
    }

    /// What is left of a replacement that was interrupted goes, as the command says that it must.
    fn empty_as_told(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        let Some(host) = stage.operator().take_told() else {
            return;
        };
        let Some(member) = stage.members().find(|member| member.host == host) else {
            return;
        };
        let now = sim.elapsed();
        self.note(now, &format!("{host} is given an empty disk once more"));
        self.bring_down(sim, member, Crash::PowerLoss);
        member.wipe();
        self.repairs.push((now, Repair::Start(host)));
    }

    /// A node that does not trust its data is given an empty disk, and taken in anew.
    fn give_up_data(&mut self, stage: &Stage, member: &Member) {
        let mut sides = stage.sides();
        let side = sides.find(|side| side.members.iter().any(|m| m.host == member.host));
        let Some(side) = side else { return };
        member.wipe();
        stage
            .operator()
            .replace(member.clone(), side.addrs().join(","));
    }

    /// Damages the disk of a node that is down, or takes it away.
    fn damage(
        &mut self,
        sim: &mut Sim<'_>,
        stage: &Stage,
        side: &Side,
        host: &str,
        kind: &'static str,
    ) -> bool {
        let now = sim.elapsed();
        // One at a time: what a majority held, a majority must still hold.
        let busy = side.members.iter();
        let busy = busy.filter(|m| stage.operator().is_busy_with(&m.host));
        let is_damaged = |m: &Member| self.ends.is_damaged(&m.host);
        let damaged = side.members.iter().any(is_damaged);
        if side.members.len() < 3 || damaged || busy.count() > 0 {
            return false;
        }
        let Some(member) = side.members.iter().find(|m| m.host == host) else {
            return false;
        };
        if !self.crash(sim, side, &[host.to_owned()], Crash::Kill, now) {
            return false;
        }
        self.note(now, &format!("{kind} on {host}"));
        if kind == "wiped-disk" {
            self.give_up_data(stage, member);
            return true;
        }
        // A log without entries has nothing to damage: then it was a kill.
        let hit = match kind {
            "flipped-bit" => member.disk.flip_bit(),
            _ => member.disk.forget_last(3),
        };
        if hit {
            self.ends.damage(host);
        }
        hit
    }

    /// Puts everything right.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>, stage: &Stage) {
        self.empty_as_told(sim, stage);
        self.restart_ended(sim, stage);
        self.crash_halted(sim, stage);
        for (_, repair) in std::mem::take(&mut self.repairs) {
            self.repair(sim, stage, repair);
        }
        let now = sim.elapsed();
        self.note(now, "healed");
        self.next = now;
    }

    fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low_ms..high_ms))
    }

    fn later(&mut self, now: Duration, repair: Repair) {
        let at = now + self.between(200, 6_000);
        self.repairs.push((at, repair));
    }

    fn repair(&mut self, sim: &mut Sim<'_>, stage: &Stage, repair: Repair) {
        let now = sim.elapsed();
        let member = |host: &str| stage.members().find(|member| member.host == host);
        match repair {
            Repair::Start(host) => {
                self.note(now, &format!("start {host}"));
                sim.bounce(host.as_str());
            }
            Repair::Cuts(cuts) => {
                self.note(now, &format!("mend {cuts:?}"));
                for cut in &cuts {
                    match cut {
                        Cut::Drop(a, b) => sim.repair(a.as_str(), b.as_str()),
                        Cut::OneWay(a, b) => sim.repair_oneway(a.as_str(), b.as_str()),
                        Cut::Hold(a, b) => sim.release(a.as_str(), b.as_str()),
                    }
                }
            }
            Repair::Loss(pairs) => {
                self.note(now, "no loss any more");
                for (a, b) in pairs {
                    sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
                    sim.repair(a.as_str(), b.as_str());
                }
            }
            Repair::Disk(host) => {
                if let Some(member) = member(&host) {
                    member.disk.behave(MANNERS);
                }
            }
            Repair::Clock(host) => {
                if let Some(member) = member(&host) {
                    member.clock.put_off(0);
                }
            }
        }
    }

    /// Begins a fault. Says whether it happened: one that waits for a write counts when it does.
    fn hurt(&mut self, sim: &mut Sim<'_>, stage: &Stage, side: &Side, kind: &'static str) -> bool {
        let now = sim.elapsed();
        let everybody = &stage.hosts();
        let mut hosts: Vec<String> = side.members.iter().map(|m| m.host.clone()).collect();
        hosts.shuffle(&mut self.rng);
        let most = hosts.len() / 2 + 1;
        let few = self.rng.random_range(1..most.max(2));
        match kind {
            "kill" => self.crash(sim, side, &hosts[..few], Crash::Kill, now),
            "kill-leader" => {
                let leaders = side.members.iter().filter(|m| m.leading_term().is_some());
                let leaders: Vec<_> = leaders.map(|m| m.host.clone()).collect();
                self.crash(sim, side, &leaders, Crash::Kill, now)
            }
            "power-loss" => self.crash(sim, side, &hosts[..few], Crash::PowerLoss, now),
            "power-loss-all" => self.crash(sim, side, &hosts, Crash::PowerLoss, now),
            "slow-disk" => self.disk(side, &hosts[0], now, |disk| {
                disk.behave(DiskManners {
                    round_max: Duration::from_millis(700),
                    ..MANNERS
                });
            }),
            FAILING => {
                let rounds = self.rng.random_range(0..20);
                self.disk(side, &hosts[0], now, |disk| disk.fail_after(rounds));
                self.ends.arm_failure(&hosts[0]);
                false
            }
            "crash-before-write" | "crash-before-report" => {
                let rounds = self.rng.random_range(0..40);
                let at = if kind == "crash-before-write" {
                    Halt::BeforeRound
                } else {
                    Halt::BeforeReport
                };
                self.disk(side, &hosts[0], now, |disk| disk.halt_after(rounds, at));
                self.ends.arm_halt(&hosts[0], kind);
                false
            }
            "clock" => self.clock(side, &hosts[0], now),
            "wiped-disk" | "flipped-bit" | "forgetful-disk" => {
                self.damage(sim, stage, side, &hosts[0], kind)
            }
            "part-leader" => {
                // Not from clients: whoever asks it must not be told what is not true any more.
                let leads = |host: &String| {
                    let mut members = side.members.iter();
                    members.any(|m| m.host == *host && m.leading_term().is_some())
                };
                hosts.sort_by_key(|host| !leads(host));
                self.part(sim, &hosts, "part-one", now)
            }
            RESTART_OTHERS => self.restart_others(sim, stage, now),
            "part-client" => {
                let hosts = self.client_first(stage);
                self.part(sim, &hosts, "part-one", now)
            }
            "loss" => self.loss(sim, everybody, now),
            _ => {
                // Also between the sides, and between nodes and clients.
                if self.rng.random_bool(0.4) {
                    hosts = everybody.to_vec();
                    hosts.shuffle(&mut self.rng);
                }
                self.part(sim, &hosts, kind, now)
            }
        }
    }

    /// Nobody but clients that only read reaches the leader any more, for so long that a successor
    /// may change something, and nothing else hurts; and all others are started anew at once: they
    /// forget what they promised.
    fn restart_others(&mut self, sim: &mut Sim<'_>, stage: &Stage, now: Duration) -> bool {
        let members = &stage.origin().members;
        let mut leaders = members.iter().filter(|m| m.leading_term().is_some());
        let Some(leader) = leaders.next() else {
            return false;
        };
        self.heal(sim, stage);
        let readers: BTreeSet<String> = stage.readers().collect();
        let mut hosts = vec![leader.host.clone()];
        let others = stage.hosts().into_iter();
        hosts.extend(others.filter(|host| *host != leader.host && !readers.contains(host)));
        let cuts = self.cuts(sim, &hosts, "part-one", now);
        self.next = now + self.between(6_000, 14_000);
        self.repairs.push((self.next, Repair::Cuts(cuts)));
        for member in members {
            if member.host == leader.host || member.reader().is_none() {
                continue;
            }
            self.note(now, &format!("{} is started anew", member.host));
            self.bring_down(sim, member, Crash::Kill);
            self.repairs.push((now, Repair::Start(member.host.clone())));
        }
        true
    }

    /// All hosts, first a client that only reads: one that holds leases and falls silent.
    fn client_first(&mut self, stage: &Stage) -> Vec<String> {
        let mut hosts = stage.hosts();
        let readers: BTreeSet<String> = stage.readers().collect();
        hosts.shuffle(&mut self.rng);
        hosts.sort_by_key(|host| !readers.contains(host));
        hosts
    }

    fn crash(
        &mut self,
        sim: &mut Sim<'_>,
        side: &Side,
        hosts: &[String],
        crash: Crash,
        now: Duration,
    ) -> bool {
        let mut hit = false;
        for member in &side.members {
            if !hosts.contains(&member.host) || member.reader().is_none() {
                continue;
            }
            self.note(now, &format!("{crash:?} {}", member.host));
            self.bring_down(sim, member, crash);
            self.later(now, Repair::Start(member.host.clone()));
            hit = true;
        }
        hit
    }

    fn disk(
        &mut self,
        side: &Side,
        host: &str,
        now: Duration,
        change: impl Fn(&raft_store::simulated::SimDisk),
    ) -> bool {
        let Some(member) = side.members.iter().find(|m| m.host == host) else {
            return false;
        };
        self.note(now, &format!("the disk of {host} is in trouble"));
        change(&member.disk);
        self.later(now, Repair::Disk(host.to_owned()));
        true
    }

    fn clock(&mut self, side: &Side, host: &str, now: Duration) -> bool {
        let Some(member) = side.members.iter().find(|m| m.host == host) else {
            return false;
        };
        let off = self.rng.random_range(-3_600_000..3_600_000);
        let off = if self.rng.random_bool(0.5) {
            off
        } else {
            off / 3_000
        };
        self.note(now, &format!("the clock of {host} is {off} ms off"));
        member.clock.put_off(off);
        self.later(now, Repair::Clock(host.to_owned()));
        true
    }

    fn loss(&mut self, sim: &mut Sim<'_>, hosts: &[String], now: Duration) -> bool {
        let pairs: Vec<_> = pairs(hosts, hosts);
        if pairs.is_empty() {
            return false;
        }
        self.note(now, "some of what is sent is lost");
        for (a, b) in &pairs {
            sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.002);
        }
        self.later(now, Repair::Loss(pairs));
        true
    }

    fn part(&mut self, sim: &mut Sim<'_>, hosts: &[String], kind: &str, now: Duration) -> bool {
        let cuts = self.cuts(sim, hosts, kind, now);
        let parted = !cuts.is_empty();
        if parted {
            self.later(now, Repair::Cuts(cuts));
        }
        parted
    }

    /// Parts hosts, and says what will mend it.
    fn cuts(&mut self, sim: &mut Sim<'_>, hosts: &[String], kind: &str, now: Duration) -> Vec<Cut> {
        if hosts.len() < 2 {
            return Vec::new();
        }
        let middle = hosts.len() / 2;
        let (left, right) = hosts.split_at(middle);
        let cuts: Vec<Cut> = match kind {
            "part-halves" => each(pairs(left, right), Cut::Drop),
            "part-one" => each(pairs(&hosts[..1], &hosts[1..]), Cut::Drop),
            "part-one-way" => each(pairs(&hosts[..1], &hosts[1..]), Cut::OneWay),
            "hold" => each(pairs(&hosts[..1], &hosts[1..]), Cut::Hold),
            _ => {
                let some = pairs(hosts, hosts).into_iter();
                let some = some.filter(|_| self.rng.random_bool(0.5)).collect();
                each(some, Cut::Drop)
            }
        };
        if cuts.is_empty() {
            return cuts;
        }
        self.note(now, &format!("{cuts:?}"));
        for cut in &cuts {
            match cut {
                Cut::Drop(a, b) => sim.partition(a.as_str(), b.as_str()),
                Cut::OneWay(a, b) => sim.partition_oneway(a.as_str(), b.as_str()),
                Cut::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
            }
        }
        cuts
    }
}

fn each(pairs: Vec<(String, String)>, cut: impl Fn(String, String) -> Cut) -> Vec<Cut> {
    pairs.into_iter().map(|(a, b)| cut(a, b)).collect()
}

/// Each host of the one list with each of the other, once.
fn pairs(some: &[String], others: &[String]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for a in some {
        for b in others {
            let known = |pair: &(String, String)| *pair == (b.clone(), a.clone());
            if a != b && !pairs.iter().any(known) {
                pairs.push((a.clone(), b.clone()));
            }
        }
    }
    pairs
}
