//! Spans of time as people type them.

use std::time::Duration;

/// A span: a number with `ms`, `s`, `m` or `h`; a bare number counts in seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_not_a_number| format!("`{text}` is no time; write for example 200ms or 5s"))?;
    let unit_ms = match suffix {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{suffix}` is no unit of time; use ms, s, m or h")),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// A span as [`parse`] reads it.
pub(crate) fn text(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// Seconds of a span of days: a number, which may have a part behind a point, or a span with `s`, `m`,
/// `h` or `d`.
pub(crate) fn parse_days(text: &str) -> Result<u64, String> {
    const SECONDS_PER_DAY: u64 = 86_400;
    let text = text.trim();
    let wrong = || format!("`{text}` is no time; write for example 7 for days, 0.5 or 12h");
    if let Some(days) = text.strip_suffix('d') {
        return parse_days(days);
    }
    if text.ends_with(['s', 'm', 'h']) {
        return parse(text).map(|span| span.as_secs());
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let part: u64 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
    let whole = whole.parse::<u64>().ok();
    let whole = whole.and_then(|days| days.checked_mul(SECONDS_PER_DAY));
    whole
        .and_then(|seconds| seconds.checked_add(part * SECONDS_PER_DAY / 1_000_000_000))
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// Seconds as [`parse_days`] reads them, for people.
pub(crate) fn days_text(seconds: u64) -> String {
    let of = |unit: u64, name: &str| {
        let count = seconds / unit;
        let many = if count == 1 { "" } else { "s" };
        seconds
            .is_multiple_of(unit)
            .then(|| format!("{count} {name}{many}"))
    };
    of(86_400, "day")
        .or_else(|| of(3600, "hour"))
        .or_else(|| of(60, "minute"))
        .or_else(|| of(1, "second"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_days_are_read_with_parts_and_units() {
        for (text, seconds) in [
            ("1", 86_400),
            ("0", 0),
            ("7d", 604_800),
            ("0.5", 43_200),
            ("0.000011575", 1),
            ("12h", 43_200),
            ("30s", 30),
        ] {
            assert_eq!(parse_days(text), Ok(seconds), "{text}");
        }
        for wrong in [
            "",
            "d",
            "-1",
            "1.",
            ".5",
            "1.5h",
            "x",
            "1e3",
            "99999999999999999999",
        ] {
            assert!(parse_days(wrong).is_err(), "{wrong}");
        }
        let texts = [0, 86_400, 43_200, 90, 1].map(days_text);
        assert_eq!(
            texts,
            ["0 days", "1 day", "12 hours", "90 seconds", "1 second"]
        );
    }

    #[test]
    fn spans_are_read_with_units() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse(" 2m"), Ok(Duration::from_secs(120)));
        assert_eq!(
            parse(&text(Duration::from_secs(3))),
            Ok(Duration::from_secs(3))
        );
        for wrong in [
            "",
            "ms",
            "5d",
            "-1s",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
