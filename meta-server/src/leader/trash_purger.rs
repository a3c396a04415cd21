//! Gives up what has been in the trash for as long as its volume says, by this node's clock.
//!
//! What is given up is a file without names like any other: the orphan reaper deletes it once nobody
//! holds it open.

use super::listing::{self, unexpected};
use super::maintain;
use crate::clock;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::attr::Timestamp;
use meta_core::command::CommandBody;
use meta_core::ids::VolumeId;
use meta_core::limits::TRASH_ENTRIES_MAX;
use meta_core::query::{Answer, QueryBody, TrashStat};
use std::sync::Arc;
use std::time::Duration;

/// Commands for one volume in one round.
const STEPS_MAX: usize = 64;
/// Between two rounds at least, however much is due.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two rounds at most: a volume may be told meanwhile to keep less.
const INTERVAL: Duration = Duration::from_secs(5);

/// Purges until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let due = round(&core).await.unwrap_or_else(|failure| {
            tracing::debug!(%failure, "the look at the trash failed");
            INTERVAL
        });
        tokio::time::sleep(due.clamp(PAUSE, INTERVAL)).await;
    }
}

/// How long until something is due.
async fn round(core: &Arc<Core>) -> Result<Duration, Failure> {
    core.reads.pass().await?;
    let mut due = INTERVAL;
    for volume in listing::origins(core).await? {
        due = due.min(purge(core, volume.id).await?);
    }
    Ok(due)
}

async fn purge(core: &Arc<Core>, volume: VolumeId) -> Result<Duration, Failure> {
    for _step in 0..STEPS_MAX {
        let Answer::Stat(stat) = core.ask(volume, QueryBody::StatVolume).await? else {
            return Err(unexpected("totals"));
        };
        let now = clock::timestamp(core.wall.now());
        let Some(wait) = stat.trash.and_then(|trash| wait(&trash, now)) else {
            return Ok(INTERVAL);
        };
        let body = CommandBody::PurgeTrash {
            before: earlier(now, stat.trash.map_or(0, |trash| trash.seconds)),
            files_max: u32::try_from(TRASH_ENTRIES_MAX).unwrap_or(u32::MAX),
        };
        if wait > Duration::ZERO {
            return Ok(wait);
        }
        if !core.reads_generation_of(&body) {
            return Ok(INTERVAL);
        }
        maintain(core, volume, body).await?;
        core.orphan_made.notify_one();
    }
    Ok(Duration::ZERO)
}

/// How long until the oldest file in the trash is due. `None` if there is none.
fn wait(trash: &TrashStat, now: Timestamp) -> Option<Duration> {
    let seconds = i64::try_from(trash.seconds).unwrap_or(i64::MAX);
    let oldest = trash.oldest?;
    let due = Timestamp {
        seconds: oldest.seconds.saturating_add(seconds),
        nanos: oldest.nanos,
    };
    // It goes when it is older than that.
    let left = due.next().as_nanos() - now.as_nanos();
    Some(u64::try_from(left).map_or_else(
        |_| {
            if left < 0 {
                Duration::ZERO
            } else {
                Duration::MAX
            }
        },
        Duration::from_nanos,
    ))
}

fn earlier(now: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp {
        seconds: now.seconds.saturating_sub(seconds),
        ..now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_older_than_it_may_get() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        let trash = |oldest| TrashStat {
            seconds: 10,
            oldest,
            ..TrashStat::default()
        };
        assert_eq!(wait(&trash(None), at(1000, 0)), None);
        let removed = trash(Some(at(100, 5)));
        assert_eq!(wait(&removed, at(110, 6)), Some(Duration::ZERO));
        assert!(at(100, 5) < earlier(at(110, 6), 10), "it goes");
        assert_eq!(wait(&removed, at(110, 5)), Some(Duration::from_nanos(1)));
        assert!(at(100, 5) >= earlier(at(110, 5), 10), "it stays");
        assert_eq!(wait(&removed, at(50, 6)), Some(Duration::from_secs(60)));
        // A clock that went back, or a volume that keeps everything.
        let for_ever = TrashStat {
            seconds: u64::MAX,
            ..removed
        };
        assert_eq!(wait(&for_ever, at(110, 5)), Some(Duration::MAX));
    }
}
