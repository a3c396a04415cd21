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

#[cfg(test)]
mod tests {
    use super::*;

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
