//! Raises volumes to the highest level that all who apply their records read: the members of this cluster,
//! and those of each mirror's.

use super::listing::{self, unexpected};
use super::maintain;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::ids::Level;
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

/// Whether the volume is at this version's level now.
async fn raise(core: &Arc<Core>, volume: &VolumeInfo) -> Result<bool, Failure> {
    let read = core.level_read();
    if read <= volume.level {
        return Ok(false);
    }
    let Answer::Followers(noted) = core.ask(volume.id, QueryBody::Followers).await? else {
        return Err(unexpected("mirrors"));
    };
    let names = || noted.iter().map(|(name, _)| name.as_str());
    let Some((mirrors, slowest)) = core.followers.level_read(volume.id, names()) else {
        return raise_to(core, volume, read).await;
    };
    if mirrors < read {
        let lacking = read.0;
        tracing::debug!(volume = %volume.name, slowest, lacking, "the volume's level waits for a mirror");
    }
    let level = read.min(mirrors);
    if level <= volume.level {
        return Ok(false);
    }
    raise_to(core, volume, level).await
}

async fn raise_to(core: &Arc<Core>, volume: &VolumeInfo, level: Level) -> Result<bool, Failure> {
    maintain(core, volume.id, CommandBody::RaiseLevel { level }).await?;
    core.to_count.notify_one();
    tracing::info!(volume = %volume.name, level = level.0, "the volume's level was raised");
    Ok(level == LEVEL_MAX)
}
