//! Times as people and other programs read them: RFC 3339 in UTC.

use meta_core::attr::Timestamp;
use meta_core::calendar::Civil;

/// `2026-11-23T09:00:00.000000001Z`.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = Civil::of(time);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
        time.nanos
    )
}

/// Reads what [`rfc3339`] writes, with or without a part of a second.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is no time; write it as 2026-11-23T09:00:00Z");
    let read = || {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let (time, part) = time
            .split_once('.')
            .map_or((time, "0"), |(time, part)| (time, part));
        let mut date = date.splitn(3, '-').map(|word| number(word, 4));
        let mut time = time.splitn(3, ':').map(|word| number(word, 2));
        let civil = Civil {
            year: date.next()??,
            month: date.next()??,
            day: date.next()??,
            hour: time.next()??,
            minute: time.next()??,
            second: time.next()??,
        };
        let nanos = u32::try_from(number(&format!("{part:0<9}"), 9)?).ok()?;
        Some(Timestamp {
            nanos,
            ..civil.time()?
        })
    };
    read().ok_or_else(wrong)
}

/// A number of so many digits at most.
fn number(word: &str, digits: usize) -> Option<i64> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && (1..=digits).contains(&word.len()))
        .then(|| word.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> String {
        rfc3339(Timestamp { seconds, nanos: 5 })
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        for time in [
            time(0, 0),
            time(1_795_424_400, 5),
            time(951_782_400, 999_999_999),
        ] {
            assert_eq!(parse(&rfc3339(time)), Ok(time));
        }
        assert_eq!(parse("2026-11-23T09:00:00Z"), Ok(time(1_795_424_400, 0)));
        assert_eq!(
            parse("2026-11-23T09:00:00.5Z"),
            Ok(time(1_795_424_400, 500_000_000))
        );
        for wrong in [
            "",
            "2026-11-23",
            "2026-11-23T09:00:00",
            "2026-02-30T09:00:00Z",
            "2026-11-23T09:00:61Z",
            "2026-11-23T09:00:00.0000000001Z",
            "-026-11-23T09:00:00Z",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_in_the_proleptic_calendar() {
        assert_eq!(at(0), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.000000005Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000005Z");
        assert_eq!(at(1_795_424_400), "2026-11-23T09:00:00.000000005Z");
        assert_eq!(at(253_402_300_799), "9999-12-31T23:59:59.000000005Z");
    }
}
