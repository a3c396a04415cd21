//! Sizes as people type them.

use meta_core::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN};

/// Bytes of `text`: a number with `K`, `M`, `G` or `T` (also `KiB`, `MiB`, ...), in steps of
/// 1024; a bare number counts in `unit_bytes`.
pub(crate) fn parse(text: &str, unit_bytes: u64) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_not_a_number| format!("`{text}` is no size; write for example 4M or 512K"))?;
    let unit = match suffix.to_ascii_uppercase().as_str() {
        "" => unit_bytes,
        "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err(format!("`{suffix}` is no unit of size; use K, M, G or T")),
    };
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// A block size; a bare number counts in KiB.
pub(crate) fn parse_block(text: &str) -> Result<u32, String> {
    let bytes = parse(text, 1 << 10)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(bytes))
        .filter(|bytes| bytes.is_power_of_two())
        .ok_or_else(|| "a block is a power of two from 64K to 16M, for example 4M".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_are_read_as_kib_and_with_units() {
        assert_eq!(parse_block("4M"), Ok(4 << 20));
        assert_eq!(parse_block("4MiB"), Ok(4 << 20));
        assert_eq!(parse_block("4096"), Ok(4 << 20));
        assert_eq!(parse_block("64k"), Ok(64 << 10));
        assert_eq!(parse_block("16M"), Ok(16 << 20));
    }

    #[test]
    fn block_sizes_outside_the_format_are_refused() {
        for text in [
            "32K",
            "32M",
            "3M",
            "0",
            "4X",
            "",
            "M",
            "-4M",
            "99999999999999999999T",
        ] {
            assert!(parse_block(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_that_overflows_is_refused() {
        assert!(parse("18446744073709551615K", 1).is_err());
        assert_eq!(parse("18446744073709551615", 1), Ok(u64::MAX));
    }
}
