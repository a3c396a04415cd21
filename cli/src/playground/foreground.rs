//! A playground that belongs to a terminal: it is watched, and Ctrl-C stops it.

use super::layout::Layout;
use super::start::Running;
use super::stop;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// How often the processes are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The signals that end the playground. Made before it starts, so that none is missed.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Watches until a signal comes or another command has stopped the playground.
pub(super) async fn watch(
    layout: &Layout,
    mut running: Running,
    signals: &mut Signals,
) -> Result<()> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.any() => break,
            _ = ticks.tick() => {
                if !layout.state_file().exists() {
                    eprintln!("the playground was stopped by another command");
                    return Ok(());
                }
                tell_ended(layout, &mut running)?;
            }
        }
    }
    let progress = Progress::new();
    progress.step("stopping");
    stop::stop(layout, &progress).await?;
    Ok(())
}

/// Says once of each process that it has ended.
fn tell_ended(layout: &Layout, running: &mut Running) -> Result<()> {
    let dir = layout.dir().display();
    let mut living = Vec::new();
    for mut node in running.nodes.drain(..) {
        match node.process.ended()? {
            None => living.push(node),
            Some(words) => eprintln!(
                "metadata node {0} ended: {words}\n\
                 `curlew playground --dir {dir} --restart {0}` starts it again",
                node.plan.id
            ),
        }
    }
    running.nodes = living;
    let mut living = Vec::new();
    for mut mount in running.mounts.drain(..) {
        match mount.ended()? {
            None => living.push(mount),
            Some(words) => {
                eprintln!("a mount ended: {words}\nCtrl-C, then start the playground again");
            }
        }
    }
    running.mounts = living;
    Ok(())
}
