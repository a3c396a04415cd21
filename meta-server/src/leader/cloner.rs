//! Goes on with copies of directories that were begun, and with what is left of those that have ended.
//!
//! Rows are copied without regard to who caches what. Once nothing seems left to copy, whoever caches the
//! target is asked first, and then what changed in between is copied by the command that puts the copy in its
//! place.

use super::listing::{self, unexpected};
use super::maintain;
use crate::clock;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::ids::VolumeId;
use meta_core::limits::ENDED_CLONE_SECONDS;
use meta_core::query::{Answer, CloneStatus, QueryBody};
use meta_core::row::CloneState;
use std::sync::Arc;
use std::time::Duration;

/// Commands for one copy in one round: then the others have their turn.
const STEPS_MAX: usize = 16;
/// Rows of one command: clients wait while it is applied.
const ROWS_MAX: u32 = 256;
/// Between two looks whether there is something to do, if nobody says so.
const INTERVAL: Duration = Duration::from_secs(5);

/// Copies until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let more = round(&core).await.unwrap_or_else(|failure| {
            tracing::debug!(%failure, "the look for clones failed");
            false
        });
        if !more {
            // Woken or not, the next round looks at everything.
            let _woken = tokio::time::timeout(INTERVAL, core.to_clone.notified()).await;
        }
    }
}

/// Whether something is left to do.
async fn round(core: &Arc<Core>) -> Result<bool, Failure> {
    core.reads.pass().await?;
    let mut more = false;
    for volume in listing::origins(core).await? {
        let Answer::Clones(clones) = core.ask(volume.id, QueryBody::Clones).await? else {
            return Err(unexpected("clones"));
        };
        for status in clones {
            // One that cannot go on now does not hold up the others.
            let went_on = go_on(core, volume.id, &status).await;
            more |= went_on.unwrap_or_else(|failure| {
                tracing::debug!(job = %status.job, %failure, "a clone could not go on");
                false
            });
        }
    }
    Ok(more)
}

/// Whether something is left to do for one.
async fn go_on(core: &Core, volume: VolumeId, status: &CloneStatus) -> Result<bool, Failure> {
    let now = clock::timestamp(core.wall.now());
    let age = now.seconds.saturating_sub(status.since.seconds);
    if !status.is_at_work && age <= ENDED_CLONE_SECONDS {
        return Ok(false);
    }
    let copies = status.state == CloneState::Copying;
    let place = (status.parent, status.name.clone());
    let step = |attach: bool| CommandBody::CloneStep {
        job: status.job,
        rows_max: ROWS_MAX,
        copies,
        attach: attach.then(|| place.clone()),
    };
    if !core.reads_generation_of(&step(false)) {
        return Ok(false);
    }
    for _step in 0..STEPS_MAX {
        if maintain(core, volume, step(false)).await? {
            continue;
        }
        if !copies || maintain(core, volume, step(true)).await? {
            break;
        }
        tracing::info!(job = %status.job, "a clone was put in its place, or came to nothing");
        core.orphan_made.notify_one();
        break;
    }
    // How it stands now, the next round sees.
    Ok(status.is_at_work)
}
