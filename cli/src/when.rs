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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> String {
        rfc3339(Timestamp { seconds, nanos: 5 })
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
