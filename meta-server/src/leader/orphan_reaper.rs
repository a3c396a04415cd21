//! Deletes files without names once no session holds them open.
//!
//! Opens are not replicated. A file that loses its last name goes to the orphan table, and the
//! leader asks every session of the volume which of the orphans it holds. What nobody holds is
//! deleted in bounded steps. A session that does not answer keeps all of them, until it expires.

use super::listing::{self, unexpected};
use super::maintain;
use crate::failure::Failure;
use crate::node::Core;
use futures::stream::{self, StreamExt as _};
use meta_core::command::CommandBody;
use meta_core::failpoint::{self, Point};
use meta_core::ids::{Ino, VolumeId};
use meta_core::limits::{MAINTENANCE_ROWS_MAX, REAP_FILES_MAX};
use meta_core::query::{Answer, QueryBody};
use std::sync::Arc;
use std::time::Duration;

/// Files asked about in one question.
const PAGE: u32 = 1024;
/// Commands at the same time.
const CONCURRENT: usize = 32;
/// Between two rounds at least, however many files lose their names.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two rounds at most: files are let go without a word.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reaps until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        if let Err(failure) = round(&core).await {
            tracing::debug!(%failure, "the look for files without names failed");
        }
        tokio::time::sleep(PAUSE).await;
        // Woken or not, the next round looks at everything.
        let _woken = tokio::time::timeout(INTERVAL, core.orphan_made.notified()).await;
    }
}

async fn round(core: &Arc<Core>) -> Result<(), Failure> {
    core.reads.pass().await?;
    for volume in listing::origins(core).await? {
        let mut after = Ino(0);
        loop {
            let body = QueryBody::Orphans {
                after,
                count_max: PAGE,
            };
            let Answer::Inodes(orphans) = core.ask(volume.id, body).await? else {
                return Err(unexpected("orphans"));
            };
            let Some(last) = orphans.last() else { break };
            after = *last;
            if !page(core, volume.id, &orphans).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Asks about a page of orphans and reaps what nobody holds. False if a session did not answer,
/// which it will not do for the next page either.
async fn page(core: &Arc<Core>, volume: VolumeId, orphans: &[Ino]) -> Result<bool, Failure> {
    let sessions = listing::sessions(core, volume).await?;
    let sessions: Vec<_> = sessions.into_iter().map(|session| session.id).collect();
    let Some(unheld) = core.held.unheld(&core.sessions, &sessions, orphans).await else {
        return Ok(false);
    };
    let unheld: Vec<Ino> = unheld.into_iter().collect();
    let chunks: Vec<Vec<Ino>> = unheld.chunks(REAP_FILES_MAX).map(<[Ino]>::to_vec).collect();
    // A large file holds up its own chunk only.
    let reaping = chunks.into_iter().map(|inos| reap(core, volume, inos));
    let mut reaping = stream::iter(reaping).buffer_unordered(CONCURRENT);
    while let Some(reaped) = reaping.next().await {
        reaped?;
    }
    Ok(true)
}

/// Deletes files, all with one command where every member reads it.
async fn reap(core: &Arc<Core>, volume: VolumeId, inos: Vec<Ino>) -> Result<(), Failure> {
    let rows_max = MAINTENANCE_ROWS_MAX;
    let together = CommandBody::ReapFiles {
        inos: inos.clone(),
        rows_max,
    };
    if core.reads_generation_of(&together) {
        return step_by_step(core, volume, &together, inos.len()).await;
    }
    let one_by_one = inos.into_iter().map(|ino| async move {
        step_by_step(core, volume, &CommandBody::Reap { ino, rows_max }, 1).await
    });
    let mut reaping = stream::iter(one_by_one).buffer_unordered(CONCURRENT);
    while let Some(reaped) = reaping.next().await {
        reaped?;
    }
    Ok(())
}

async fn step_by_step(
    core: &Core,
    volume: VolumeId,
    step: &CommandBody,
    files: usize,
) -> Result<(), Failure> {
    loop {
        failpoint::pass(Point::OrphanReap);
        if !maintain(core, volume, step.clone()).await? {
            break;
        }
    }
    core.metrics.orphans_reaped.inc_by(files as u64);
    Ok(())
}
