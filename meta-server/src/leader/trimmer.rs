//! Gives back the slices that lie behind a truncation, a bounded step at a time.

use super::listing::{self, unexpected};
use super::maintain;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::command::CommandBody;
use meta_core::failpoint::{self, Point};
use meta_core::ids::Ino;
use meta_core::limits::MAINTENANCE_ROWS_MAX;
use meta_core::query::{Answer, QueryBody};
use std::sync::Arc;
use std::time::Duration;

const PAGE: u32 = 256;
/// Steps for one file in one round.
const STEPS_MAX: usize = 64;
const INTERVAL: Duration = Duration::from_secs(2);

/// Trims until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        if let Err(failure) = round(&core).await {
            tracing::debug!(%failure, "the look for cut files failed");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn round(core: &Arc<Core>) -> Result<(), Failure> {
    core.reads.pass().await?;
    for volume in listing::origins(core).await? {
        let mut after = Ino(0);
        loop {
            let body = QueryBody::Cuts {
                after,
                count_max: PAGE,
            };
            let Answer::Inodes(cut) = core.ask(volume.id, body).await? else {
                return Err(unexpected("cut files"));
            };
            let Some(last) = cut.last() else { break };
            after = *last;
            for ino in cut {
                let step = || CommandBody::Trim {
                    ino,
                    rows_max: MAINTENANCE_ROWS_MAX,
                };
                // A file that is truncated as fast as it is trimmed must not keep the others
                // waiting: it goes on in the next round.
                for _step in 0..STEPS_MAX {
                    failpoint::pass(Point::FileTrim);
                    if !maintain(core, volume.id, step()).await? {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}
