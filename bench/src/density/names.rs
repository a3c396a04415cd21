//! Names, owners and times as real trees have them, each given by the file's number alone.

use anyhow::{Result, anyhow};
use meta_core::attr::Caller;
use meta_core::name::Name;

/// Spreads numbers evenly: a step of SplitMix64.
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The name of a file: 16 bytes on average, in one of the forms that training sets, logs and
/// pictures have. No two numbers below 10^10 have the same.
pub(super) fn file(number: u64) -> Result<Name> {
    let text = match spread(number) % 5 {
        0 => format!("IMG_{number:08}.jpg"),
        1 => format!("part-{number:08}.gz"),
        2 => format!("{number:010x}.json"),
        3 => format!("s{number:09}.tar.lz"),
        _ => format!("x{:015x}", number << 16 | spread(number) & 0xffff),
    };
    Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))
}

/// The name of a directory.
pub(super) fn dir(number: u64) -> Result<Name> {
    let text = format!("dir.{number:06}");
    Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))
}

/// Who makes a file: one of a few people, each with a run of files.
pub(super) fn owner(number: u64) -> Caller {
    let uid = 1000 + u32::try_from(spread(number / 512) % 12).unwrap_or_default();
    Caller {
        uid,
        gid: uid,
        ..Caller::root()
    }
}

/// Permission bits of a file.
pub(super) fn mode(number: u64) -> u32 {
    match spread(!number) % 16 {
        0 => 0o600,
        1 => 0o755,
        _ => 0o644,
    }
}

/// Nanoseconds between the file before and this one: a second on average, over which files come in
/// bursts.
pub(super) fn pause_ns(number: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let rest = number % 64;
    if rest == 0 {
        spread(number) % (100 * SECOND)
    } else {
        spread(number) % (SECOND / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_differ_and_are_sixteen_bytes_on_average() {
        let names: BTreeSet<Name> = (0..50_000).map(|number| file(number).unwrap()).collect();
        assert_eq!(names.len(), 50_000);
        let bytes: usize = names.iter().map(|name| name.as_bytes().len()).sum();
        assert!((790_000..=810_000).contains(&bytes), "{bytes}");
    }
}
