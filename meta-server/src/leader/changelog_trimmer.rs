//! Keeps each volume's changelog below its caps in bytes and age.

use super::listing::{self, unexpected};
use super::maintain;
use crate::clock;
use crate::failure::Failure;
use crate::node::Core;
use meta_core::codec::Codec as _;
use meta_core::command::CommandBody;
use meta_core::failpoint::{self, Point};
use meta_core::ids::{Seq, VolumeId};
use meta_core::outcome::Fatal;
use meta_core::query::{Answer, QueryBody, VolumeStat};
use proto::ProstCodec;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(5);
/// Records dropped by one command.
const RECORDS_MAX: u64 = 4096;
/// Commands for one volume in one round.
const STEPS_MAX: usize = 1024;

/// Trims until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        if let Err(failure) = round(&core).await {
            tracing::debug!(%failure, "the look at the changelogs failed");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn round(core: &Arc<Core>) -> Result<(), Failure> {
    core.reads.pass().await?;
    for volume in listing::volumes(core).await? {
        for _step in 0..STEPS_MAX {
            let Answer::Stat(stat) = core.ask(volume.id, QueryBody::StatVolume).await? else {
                return Err(unexpected("totals"));
            };
            let by_bytes = keep_from(&stat, core.config.changelog_retain_bytes);
            let by_age = young_from(core, volume.id, &stat).await?;
            let Some(keep_from) = by_bytes.max(by_age) else {
                break;
            };
            failpoint::pass(Point::ChangelogTrim);
            maintain(core, volume.id, CommandBody::TrimChangelog { keep_from }).await?;
        }
    }
    Ok(())
}

/// The first record to keep, if some must go. The sizes of single records are not known here, so
/// the excess is taken as evenly spread; a few rounds get to the cap.
fn keep_from(stat: &VolumeStat, retain_bytes: u64) -> Option<Seq> {
    let records = (stat.token.seq.0 + 1).checked_sub(stat.changelog_first.0)?;
    // The newest record stays: a mirror continues its chain.
    let excess = stat
        .changelog_bytes
        .checked_sub(retain_bytes)
        .filter(|excess| *excess > 0)?;
    let share = u128::from(records) * u128::from(excess) / u128::from(stat.changelog_bytes);
    let drop = u64::try_from(share).unwrap_or(u64::MAX).max(1);
    let drop = drop.min(RECORDS_MAX).min(records.checked_sub(1)?);
    (drop > 0).then(|| Seq(stat.changelog_first.0 + drop))
}

/// The first record that is young enough to keep, if older ones must go.
async fn young_from(
    core: &Arc<Core>,
    volume: VolumeId,
    stat: &VolumeStat,
) -> Result<Option<Seq>, Failure> {
    // A record that a wrong clock takes for old cannot be had back, and a mirror that needs it must be
    // loaded anew.
    if !core.clock.is_confirmed(core.peers()) {
        return Ok(None);
    }
    let now = clock::timestamp(core.wall.now());
    let retain = i64::try_from(core.config.changelog_retain.as_secs()).unwrap_or(i64::MAX);
    let oldest = now.seconds.saturating_sub(retain);
    let (first, last) = (stat.changelog_first, stat.token.seq);
    let reading = {
        let core = Arc::clone(core);
        raft_store::offload(move || {
            let read = core.reader.with_view(|view| {
                first_young(first, last, |seq| {
                    let found = meta_core::read::records(view, volume, seq, 1)?;
                    let Some((_, sealed)) = found.first() else {
                        return Ok(true);
                    };
                    let record = ProstCodec.decode_record(&sealed.body)?;
                    Ok(record.stamp.seconds >= oldest)
                })
            });
            read.and_then(|found| found)
                .map_err(|fatal| core.fatal(&fatal))
        })
    };
    reading
        .await
        .map_err(|error| Failure::unavailable(error.to_string()))?
}

/// The first of the records from `first` to `last` that is young, by halving: stamps never fall. The
/// newest stays whatever its age, and a step is bounded. `None` if the first is young.
fn first_young(
    first: Seq,
    last: Seq,
    is_young: impl Fn(Seq) -> Result<bool, Fatal>,
) -> Result<Option<Seq>, Fatal> {
    let (mut old, mut young) = (first.0, last.0.min(first.0.saturating_add(RECORDS_MAX)));
    if young <= old || is_young(first)? {
        return Ok(None);
    }
    while young - old > 1 {
        let middle = old + (young - old) / 2;
        if is_young(Seq(middle))? {
            young = middle;
        } else {
            old = middle;
        }
    }
    Ok(Some(Seq(young)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::outcome::Token;

    fn stat(first: u64, last: u64, bytes: u64) -> VolumeStat {
        VolumeStat {
            changelog_bytes: bytes,
            changelog_first: Seq(first),
            token: Token {
                seq: Seq(last),
                ..Token::default()
            },
            ..VolumeStat::default()
        }
    }

    #[test]
    fn nothing_goes_below_the_cap() {
        assert_eq!(keep_from(&stat(1, 0, 0), 100), None);
        assert_eq!(keep_from(&stat(1, 10, 100), 100), None);
    }

    #[test]
    fn the_excess_goes_and_the_newest_stays() {
        assert_eq!(keep_from(&stat(1, 10, 200), 100), Some(Seq(6)));
        assert_eq!(keep_from(&stat(10, 10, 200), 100), None);
        assert_eq!(keep_from(&stat(9, 10, 200), 0), Some(Seq(10)));
        assert_eq!(keep_from(&stat(1, 1000, 1001), 1000), Some(Seq(2)));
    }

    #[test]
    fn records_past_their_age_go_and_the_newest_stays() {
        let from = |young: u64| move |seq: Seq| Ok(seq.0 >= young);
        let find = |first, last, young| first_young(Seq(first), Seq(last), from(young)).unwrap();
        assert_eq!(find(1, 10, 1), None);
        assert_eq!(find(1, 10, 4), Some(Seq(4)));
        assert_eq!(find(1, 10, 99), Some(Seq(10)));
        assert_eq!(find(10, 10, 99), None);
        assert_eq!(find(1, 0, 99), None);
        let bounded = find(1, 1 << 40, 1 << 40);
        assert_eq!(bounded, Some(Seq(1 + RECORDS_MAX)));
    }

    #[test]
    fn one_step_is_bounded() {
        let huge = stat(1, u64::MAX / 2, u64::MAX);
        assert_eq!(keep_from(&huge, 1), Some(Seq(1 + RECORDS_MAX)));
    }
}
