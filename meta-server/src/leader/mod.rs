//! What only the leader does, besides answering: each duty is one loop that ends with the
//! leadership. All of them change state through commands, so that a deposed leader that goes on
//! for a moment can only propose in vain.

mod changelog_trimmer;
mod clock_guard;
mod cloner;
mod file_counter;
mod generation_keeper;
pub(crate) mod held;
mod level_raiser;
pub(crate) mod listing;
mod orphan_reaper;
mod session_reaper;
mod trash_purger;
mod trimmer;

use crate::failure::Failure;
use crate::leases::{self, Own};
use crate::mirror;
use crate::node::Core;
use crate::proposer::Origin;
use meta_core::attr::Timestamp;
use meta_core::command::{Command, CommandBody};
use meta_core::ids::{Level, SessionId, VolumeId};
use meta_core::outcome::{Outcome, Success};
use openraft::async_runtime::WatchReceiver as _;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Starts the duties with each leadership of this node and ends them with it.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut changes = core.raft.server_metrics();
    let mut duties: Option<(u64, JoinSet<()>)> = None;
    loop {
        let lead = core.lead();
        let running = duties.as_ref().map(|(term, _)| *term);
        let wanted = lead.leads.then_some(lead.term);
        if running != wanted {
            // Dropping the set ends the loops of the last leadership.
            duties = wanted.map(|term| (term, start(&core, term)));
            if wanted.is_none() {
                core.leases.reset(None);
            }
            if running.is_some() && wanted.is_none() {
                tracing::info!(term = lead.term, leader = ?lead.leader, "leadership is over");
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

fn start(core: &Arc<Core>, term: u64) -> JoinSet<()> {
    tracing::info!(term, "this node leads");
    core.metrics.leaderships.inc();
    let now = Instant::now();
    core.sessions.restart(now);
    core.leases.reset(Some(term));
    let mut duties = JoinSet::new();
    duties.spawn(leases::keep(Arc::clone(core), term, now));
    duties.spawn(session_reaper::run(Arc::clone(core)));
    duties.spawn(orphan_reaper::run(Arc::clone(core)));
    duties.spawn(trash_purger::run(Arc::clone(core)));
    duties.spawn(file_counter::run(Arc::clone(core)));
    duties.spawn(cloner::run(Arc::clone(core)));
    duties.spawn(trimmer::run(Arc::clone(core)));
    duties.spawn(changelog_trimmer::run(Arc::clone(core)));
    if core.config.raise_levels {
        duties.spawn(level_raiser::run(Arc::clone(core)));
    }
    duties.spawn(generation_keeper::run(Arc::clone(core)));
    duties.spawn(clock_guard::run(Arc::clone(core)));
    duties.spawn(mirror::run(Arc::clone(core)));
    duties
}

/// Proposes a maintenance step. Says whether more is left to do for its target.
async fn maintain(core: &Core, volume: VolumeId, body: CommandBody) -> Result<bool, Failure> {
    // The proposer stamps it.
    let command = Command {
        volume,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body,
    };
    // Of most steps nobody caches anything, and no session does them.
    let own = Own {
        session: SessionId(0),
        stream: 0,
        dropped: &[],
    };
    let change = core.leases.begin(core, &command, own).await?;
    let reply = core.proposer.propose(Origin::Duty, command, change).await?;
    core.tell_woken(&reply);
    match reply.outcome {
        Outcome::Done(Success::Maintained { more, .. }) => Ok(more),
        Outcome::Done(_) => Ok(false),
        // Somebody else was faster, or the target changed: the next round sees what is left.
        Outcome::Refused(refusal) => {
            tracing::debug!(%volume, %refusal, "a maintenance step was refused");
            Ok(false)
        }
        Outcome::NotExecuted(why) => {
            tracing::debug!(%volume, ?why, "a maintenance step was not executed");
            Ok(false)
        }
    }
}
