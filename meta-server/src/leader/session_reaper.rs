//! Ends sessions that were silent for their time to live.

use super::{listing, maintain};
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::failpoint::{self, Point};
use meta_core::ids::{SessionId, VolumeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A round takes no longer, with its wait for a majority, unless the whole process stood still.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Sessions ended by one command.
const BATCH: usize = 256;

/// Looks several times within a time to live, until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    let interval =
        (core.config.session_ttl / 8).clamp(Duration::from_millis(100), Duration::from_secs(5));
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        if now.saturating_duration_since(last) > interval + PAUSE_MAX {
            // This process was stopped meanwhile: what clients said waits to be read.
            tracing::warn!("this node was stopped for a while; sessions get a full time to live");
            core.sessions.restart(now);
        }
        last = now;
        if let Err(failure) = round(&core).await {
            tracing::debug!(%failure, "the look for silent sessions failed");
        }
        tokio::time::sleep(interval).await;
    }
}

async fn round(core: &Arc<Core>) -> Result<(), Failure> {
    // Without this, a leader that has not applied its predecessors' entries would miss sessions.
    core.reads.pass().await?;
    let sessions = listing::sessions(core, VolumeId::CLUSTER).await?;
    let existing: HashMap<SessionId, VolumeId> = sessions
        .into_iter()
        .map(|session| (session.id, session.volume))
        .collect();
    let now = Instant::now();
    core.sessions.sweep(&existing, now);
    let mut by_volume: BTreeMap<VolumeId, Vec<SessionId>> = BTreeMap::new();
    for (volume, session) in core.sessions.silent(core.config.session_ttl, now, BATCH) {
        by_volume.entry(volume).or_default().push(session);
    }
    for (volume, sessions) in by_volume {
        tracing::info!(%volume, ?sessions, "sessions were silent too long and are ended");
        core.metrics.sessions_expired.inc_by(sessions.len() as u64);
        failpoint::pass(Point::SessionsExpire);
        maintain(core, volume, CommandBody::ExpireSessions { sessions }).await?;
    }
    Ok(())
}
