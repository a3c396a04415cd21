//! Takes the files of a volume into its totals that were there before anybody counted: all of them once the
//! volume has come to the level of totals, and those of owners once one of these is first limited.

use super::listing::{self, unexpected};
use super::maintain;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::ids::VolumeId;
use meta_core::limits::COUNT_FILES_MAX;
use meta_core::query::{Answer, QueryBody};
use std::sync::Arc;
use std::time::Duration;

/// Commands for one volume in one round: then the others have their turn.
const STEPS_MAX: usize = 64;
/// Between two looks whether there is something to count, if nobody says so.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let more = round(&core).await.unwrap_or_else(|failure| {
            tracing::debug!(%failure, "files could not be counted");
            false
        });
        if !more {
            // Woken or not, the next round looks at everything.
            let _woken = tokio::time::timeout(INTERVAL, core.to_count.notified()).await;
        }
    }
}

/// Whether something is left to count.
async fn round(core: &Arc<Core>) -> Result<bool, Failure> {
    core.reads.pass().await?;
    let mut more = false;
    for volume in listing::origins(core).await? {
        // One volume that cannot be counted now does not hold up the others.
        more |= count(core, volume.id).await.unwrap_or_else(|failure| {
            tracing::debug!(volume = %volume.id, %failure, "files could not be counted");
            false
        });
    }
    Ok(more)
}

async fn count(core: &Arc<Core>, volume: VolumeId) -> Result<bool, Failure> {
    let Answer::Stat(stat) = core.ask(volume, QueryBody::StatVolume).await? else {
        return Err(unexpected("totals"));
    };
    if !stat.is_counting {
        return Ok(false);
    }
    let files_max = u32::try_from(COUNT_FILES_MAX).unwrap_or(u32::MAX);
    for _step in 0..STEPS_MAX {
        let body = CommandBody::CountFiles { files_max };
        if !core.reads_generation_of(&body) {
            return Ok(false);
        }
        if !maintain(core, volume, body).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
