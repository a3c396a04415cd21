//! Faults, one after the other.

use super::Nemesis;
use super::fault::{Fault, Hit, pick};
use super::report::{NemesisReport, Watch};
use crate::campaign::scene::Scene;
use crate::cluster::leader_among;
use crate::history::Recorder;
use crate::wait;
use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::time::{Duration, Instant};

/// The longest wait for a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hurts what there is until `end`, and heals it. What was done is told also when it broke off.
pub(in crate::campaign) async fn torment(
    scene: &mut Scene,
    nemesis: Nemesis,
    fault: &mut Option<Box<dyn Fault>>,
    rng: &mut StdRng,
    recorder: &Recorder,
    end: Instant,
) -> (NemesisReport, Result<()>) {
    let mut report = NemesisReport::default();
    let Some(fault) = fault else {
        rest(u64::MAX, end).await;
        return (report, Ok(()));
    };
    fault.attach(&scene.extras);
    let mut torment = Torment {
        scene,
        fault: fault.as_mut(),
        rng,
        end,
        report: &mut report,
    };
    let ended = torment.go_on(nemesis, recorder).await;
    let few = report.too_few(fault.hits_nodes(), fault.deposes());
    report.gap = few.or_else(|| fault.gap());
    (report, ended)
}

struct Torment<'a> {
    scene: &'a mut Scene,
    fault: &'a mut dyn Fault,
    rng: &'a mut StdRng,
    end: Instant,
    report: &'a mut NemesisReport,
}

impl Torment<'_> {
    /// One fault after the other.
    async fn go_on(&mut self, nemesis: Nemesis, recorder: &Recorder) -> Result<()> {
        let watch = Watch::start(recorder);
        let first = self.first(nemesis).await;
        watch.end(nemesis, self.report);
        first?;
        while Instant::now() < self.end {
            let calm = self.rng.random_range(500..2_000);
            rest(calm, self.end).await;
            if Instant::now() < self.end {
                let watch = Watch::start(recorder);
                let next = self.next(nemesis).await;
                watch.end(nemesis, self.report);
                next?;
            }
        }
        Ok(())
    }

    /// The first fault takes the leader away until the others have another: a run that is short must
    /// have met that.
    async fn first(&mut self, nemesis: Nemesis) -> Result<()> {
        let cluster = self.scene.side(0);
        let leader = cluster.leader(PATIENCE).await?;
        println!("nemesis: {nemesis:?} [{leader}] (leader)");
        let away = cluster.node(leader)?.addr().to_owned();
        let hit = Hit {
            victims: vec![leader],
            leader: Some(leader),
            first: true,
        };
        let mut others = cluster.addrs();
        others.retain(|addr| *addr != away);
        let nodes = self.fault.hurt(cluster, &hit, self.rng).await?;
        self.report.note(&nodes, Some(leader), cluster.ids().len());
        if self.fault.deposes() {
            let next = wait::until("another leader", PATIENCE, async || {
                Ok(leader_among(&others).await)
            });
            let next = next.await?;
            println!("nemesis: node {next} leads instead");
            self.report.replaced += 1;
            rest(self.fault.lingers_ms(), self.end).await;
        } else {
            let lasts = self.rng.random_range(self.fault.lasts_ms());
            rest(lasts, self.end).await;
        }
        self.fault.heal(self.scene.side(0), &hit, self.rng).await
    }

    async fn next(&mut self, nemesis: Nemesis) -> Result<()> {
        let mut side = self.rng.random_range(0..self.scene.count());
        if self.fault.is_between_nodes() && self.scene.side(side).ids().len() < 2 {
            side = 0;
        }
        let cluster = self.scene.side(side);
        // A cluster that is still electing may have no leader to hit: then the victims are random.
        let leader = cluster.leader(Duration::from_secs(3)).await.ok();
        let all = cluster.ids();
        let victims = pick(all.clone(), leader, self.fault.reach(), self.rng);
        let sides = ["", " of the mirror"];
        println!(
            "nemesis: {nemesis:?} {victims:?}{} (leader {leader:?})",
            sides[side]
        );
        let hit = Hit {
            victims,
            leader,
            first: false,
        };
        let nodes = self.fault.hurt(cluster, &hit, self.rng).await?;
        self.report.note(&nodes, leader, all.len());
        let lasts = self.rng.random_range(self.fault.lasts_ms());
        rest(lasts, self.end).await;
        let cluster = self.scene.side(side);
        self.fault.heal(cluster, &hit, self.rng).await
    }
}

/// The length of a fault or of a calm: part of the plan, not a wait for anything.
async fn rest(millis: u64, end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    tokio::time::sleep(Duration::from_millis(millis).min(left)).await;
}
