//! The calendar: which date and time of day a point in time is, in UTC, and back.

use crate::attr::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Years that are read; far more than a name can hold, and far less than what overflows.
const YEAR_MAX: i64 = 1_000_000;

/// A second of the proleptic Gregorian calendar, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Civil {
    /// The year; 0 is the one before 1.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

impl Civil {
    /// The second that a point in time lies in.
    pub fn of(time: Timestamp) -> Self {
        let (year, month, day) = date(time.seconds.div_euclid(SECONDS_PER_DAY));
        let second = time.seconds.rem_euclid(SECONDS_PER_DAY);
        Self {
            year,
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }

    /// Its beginning; `None` if there is no such second.
    pub fn time(self) -> Option<Timestamp> {
        let small = [self.month, self.day, self.hour, self.minute, self.second];
        if !(-YEAR_MAX..=YEAR_MAX).contains(&self.year)
            || small.iter().any(|part| !(0..=60).contains(part))
        {
            return None;
        }
        let day = days(self.year, self.month, self.day);
        let time = Timestamp {
            seconds: day * SECONDS_PER_DAY + self.hour * 3600 + self.minute * 60 + self.second,
            nanos: 0,
        };
        // What is no date, such as 30 February, comes back as another one.
        (Self::of(time) == self).then_some(time)
    }
}

/// The day that a point in time lies in, counted from 1970-01-01.
pub fn day_of(time: Timestamp) -> i64 {
    time.seconds.div_euclid(SECONDS_PER_DAY)
}

/// The date so many days after 1970-01-01. Years are counted from March, so that the leap day is
/// a year's last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day = days.rem_euclid(DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (
        era * 400 + year + i64::from(month <= 2),
        month,
        day_of_month,
    )
}

/// Days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(year: i64, month: i64, day: i64, time: [i64; 3]) -> Civil {
        let [hour, minute, second] = time;
        Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        }
    }

    #[test]
    fn times_become_dates_and_come_back() {
        for (seconds, expected) in [
            (0, civil(1970, 1, 1, [0, 0, 0])),
            (-1, civil(1969, 12, 31, [23, 59, 59])),
            (951_782_399, civil(2000, 2, 28, [23, 59, 59])),
            (951_782_400, civil(2000, 2, 29, [0, 0, 0])),
            (4_107_542_400, civil(2100, 3, 1, [0, 0, 0])),
            (253_402_300_799, civil(9999, 12, 31, [23, 59, 59])),
        ] {
            let time = Timestamp { seconds, nanos: 0 };
            assert_eq!(Civil::of(time), expected);
            assert_eq!(expected.time(), Some(time));
        }
        for day in -200_000..200_000_i64 {
            let seconds = day * SECONDS_PER_DAY + day.rem_euclid(SECONDS_PER_DAY);
            let time = Timestamp { seconds, nanos: 0 };
            assert_eq!(Civil::of(time).time(), Some(time), "day {day}");
            assert_eq!(day_of(time), day);
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for wrong in [
            civil(2026, 2, 29, [0, 0, 0]),
            civil(2026, 4, 31, [0, 0, 0]),
            civil(2026, 13, 1, [0, 0, 0]),
            civil(2026, 0, 1, [0, 0, 0]),
            civil(2026, 1, 0, [0, 0, 0]),
            civil(2026, 1, 1, [24, 0, 0]),
            civil(2026, 1, 1, [0, 60, 0]),
            civil(2026, 1, 1, [0, 0, 60]),
            civil(2026, 1, 1, [0, 0, -1]),
            civil(i64::MAX, 1, 1, [0, 0, 0]),
            civil(i64::MIN, i64::MAX, 1, [0, 0, i64::MAX]),
        ] {
            assert_eq!(wrong.time(), None, "{wrong:?}");
        }
    }
}
