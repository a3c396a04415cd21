//! Raises volumes to the level of this version, once all who apply their records read it: the members of
//! this cluster, and those of each mirror's.

use super::listing::{self, unexpected};
use super::maintain;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::limits::LEVEL_MAX;
use meta_core::query::{Answer, QueryBody, VolumeInfo};
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks once nothing is left to raise.
const INTERVAL_RAISED: Duration = Duration::from_secs(10);

/// Raises until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let raised = round(&core).await.unwrap_or_else(|failure| {
            tracing::debug!(%failure, "the look at the volumes' levels failed");
            false
        });
        tokio::select! {
            () = tokio::time::sleep(if raised { INTERVAL_RAISED } else { INTERVAL }) => {}
            () = core.volume_made.notified() => {}
        }
    }
}

/// Whether all volumes are at this version's level.
async fn round(core: &Arc<Core>) -> Result<bool, Failure> {
    core.reads.pass().await?;
    let mut all = true;
    for volume in listing::origins(core).await? {
        if volume.level < LEVEL_MAX {
            all &= raise(core, &volume).await?;
        }
    }
    Ok(all)
}

async fn raise(core: &Arc<Core>, volume: &VolumeInfo) -> Result<bool, Failure> {
    let body = CommandBody::RaiseLevel { level: LEVEL_MAX };
    if !core.reads_generation_of(&body) {
        return Ok(false);
    }
    let Answer::Followers(noted) = core.ask(volume.id, QueryBody::Followers).await? else {
        return Err(unexpected("mirrors"));
    };
    let names = noted.iter().map(|(name, _)| name.as_str());
    if let Some(name) = core.followers.who_lacks(volume.id, LEVEL_MAX, names) {
        tracing::debug!(volume = %volume.name, name, "the volume's level waits for a mirror");
        return Ok(false);
    }
    maintain(core, volume.id, body).await?;
    tracing::info!(volume = %volume.name, level = LEVEL_MAX.0, "the volume's level was raised");
    Ok(true)
}
