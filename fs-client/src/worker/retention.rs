//! Which backups may go, as users of this field know it: all of the last 2 days are kept, then one
//! for each day of 2 weeks, one for each week of 2 months, and one for each month before.

use chunk_store::BackupName;
use meta_core::attr::Timestamp;
use meta_core::calendar::{Civil, day_of};
use std::collections::BTreeSet;

const DAY_SECONDS: i64 = 86_400;
/// Everything is kept for so long.
const ALL_SECONDS: i64 = 2 * DAY_SECONDS;
/// One of each day is kept for so long.
const DAILY_SECONDS: i64 = 14 * DAY_SECONDS;
/// One of each week is kept for so long, and one of each month after it.
const WEEKLY_SECONDS: i64 = 60 * DAY_SECONDS;
/// 1970-01-01 was a Thursday; weeks begin on Monday.
const DAYS_SINCE_MONDAY: i64 = 3;

/// A span of which one backup is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Span {
    Day(i64),
    Week(i64),
    Month(i64, i64),
}

/// The backups that may go at `now`, oldest first. Of each span the oldest is kept: it is the same
/// one whatever comes later, so that what is kept today is what a longer span keeps tomorrow. Neither
/// the backup that was just `written` goes, nor the newest, nor one that says it is of the future.
pub fn expired(backups: &[BackupName], now: Timestamp, written: BackupName) -> Vec<BackupName> {
    let newest = backups.iter().map(BackupName::age).max();
    let mut sorted = backups.to_vec();
    sorted.sort_unstable_by_key(|name| (name.taken(), name.token()));
    let mut kept = BTreeSet::new();
    sorted.retain(|name| {
        // The first of a span is the one that it keeps.
        let is_surplus = span(*name, now).is_some_and(|span| !kept.insert(span));
        is_surplus && *name != written && Some(name.age()) != newest
    });
    sorted
}

/// The span that a backup stands for; `None` if it is kept by itself.
fn span(name: BackupName, now: Timestamp) -> Option<Span> {
    let taken = name.taken();
    let age = now.seconds.saturating_sub(taken.seconds);
    let day = day_of(taken);
    if age <= ALL_SECONDS {
        None
    } else if age <= DAILY_SECONDS {
        Some(Span::Day(day))
    } else if age <= WEEKLY_SECONDS {
        Some(Span::Week((day + DAYS_SINCE_MONDAY).div_euclid(7)))
    } else {
        let date = Civil::of(taken);
        Some(Span::Month(date.year, date.month))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::ids::{Epoch, Seq};
    use meta_core::outcome::Token;

    /// 2026-11-23T09:00:00Z, a Monday.
    const NOW: i64 = 1_795_424_400;
    const HOUR: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn name(seconds: i64, seq: i64) -> BackupName {
        let token = Token {
            epoch: Epoch(0),
            seq: Seq(u64::try_from(seq).expect("positive")),
        };
        BackupName::new(at(seconds), token).expect("a name")
    }

    /// One each hour for so many days up to `now`, which is the last one.
    fn hourly(days: i64, now: i64) -> Vec<BackupName> {
        let hours = days * 24;
        (0..=hours)
            .map(|hour| name(now - (hours - hour) * HOUR, hour))
            .collect()
    }

    fn keep(backups: &mut Vec<BackupName>, now: i64) {
        let last = *backups.last().expect("some");
        let gone = expired(backups, at(now), last);
        backups.retain(|name| !gone.contains(name));
    }

    fn ages(backups: &[BackupName], now: i64) -> Vec<i64> {
        backups
            .iter()
            .map(|name| (now - name.taken().seconds) / DAY_SECONDS)
            .collect()
    }

    #[test]
    fn all_of_two_days_one_of_a_day_one_of_a_week_and_one_of_a_month_are_kept() {
        let mut backups = hourly(400, NOW);
        keep(&mut backups, NOW);
        let ages = ages(&backups, NOW);
        let between =
            |from: i64, to: i64| ages.iter().filter(|age| (from..to).contains(age)).count();
        assert_eq!(between(0, 2), 48);
        assert!((12..=14).contains(&between(2, 14)), "{ages:?}");
        assert!((6..=10).contains(&between(14, 60)), "{ages:?}");
        assert!((11..=13).contains(&between(60, 401)), "{ages:?}");
        // What is kept is kept: the next round at the same time finds nothing to do.
        let before = backups.clone();
        keep(&mut backups, NOW);
        assert_eq!(backups, before);
    }

    #[test]
    fn what_was_pruned_hour_by_hour_is_what_one_round_would_have_kept() {
        let begin = NOW - 200 * 24 * HOUR;
        let mut backups = Vec::new();
        for hour in 0..=200 * 24 {
            let now = begin + hour * HOUR;
            backups.push(name(now, hour));
            keep(&mut backups, now);
            // Never more than a few beside the two days, and never a gap longer than a month.
            assert!(backups.len() <= 49 + 15 + 9 + 8, "{}", backups.len());
        }
        for two in backups.windows(2) {
            let gap = two[1].taken().seconds - two[0].taken().seconds;
            assert!(gap <= 62 * DAY_SECONDS, "{two:?}");
        }
        let ages = ages(&backups, NOW);
        for day in 3..13 {
            let near = ages.iter().any(|age| (age - day).abs() <= 1);
            assert!(near, "nothing of {day} days ago: {ages:?}");
        }
        for week in [21, 28, 35, 42, 49, 56] {
            let near = ages.iter().any(|age| (age - week).abs() <= 7);
            assert!(near, "nothing of {week} days ago: {ages:?}");
        }
    }

    #[test]
    fn what_was_just_written_and_the_newest_are_never_removed() {
        // The clock went back by years: what was written looks old beside all the others.
        let mut backups = hourly(30, NOW);
        let old = name(NOW - 500 * DAY_SECONDS, 1_000_000);
        let beside = name(NOW - 500 * DAY_SECONDS - HOUR, 1);
        backups.extend([old, beside]);
        let gone = expired(&backups, at(NOW), beside);
        assert!(!gone.contains(&old) && !gone.contains(&beside));
        // And one from the future is left alone.
        let future = name(NOW + 900 * DAY_SECONDS, 5);
        assert_eq!(expired(&[future, future, old], at(NOW), old), []);
        assert_eq!(expired(&[], at(NOW), old), []);
    }

    #[test]
    fn a_single_backup_of_any_age_is_kept() {
        for days in [0, 1, 3, 20, 100, 5000] {
            let only = name(NOW - days * DAY_SECONDS, 3);
            let other = name(NOW, 4);
            assert_eq!(expired(&[only], at(NOW), other), [], "{days}");
            assert_eq!(expired(&[only, other], at(NOW), other), [], "{days}");
        }
    }
}
