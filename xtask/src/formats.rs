//! Every version of every stored format is held by a test with frozen bytes.
//!
//! The convention: a format's version is a constant named `VERSION` or `FORMAT`, or ending in
//! `FORMAT_VERSION`. Its crate has a test with `frozen` in its name; once the version is above 1,
//! also one with `frozen` and `v1`, `v2`, and so on up to the version.
//!
//! What nodes store is also kept as it came to be: each version is in the `formats.toml` of a fixture.

use crate::documents::tests;
use crate::files::{Files, crate_of};
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;

/// Where fixtures are.
pub(crate) const FIXTURES: &str = "jepsen/fixtures";
/// Which versions of which formats a fixture stands for, by the files that hold the constants.
pub(crate) const LISTED: &str = "formats.toml";
/// Crates whose formats are on the disks of nodes.
const STORING: [&str; 3] = ["meta-core", "proto", "raft-store"];

/// What breaks the rule, one line each.
pub(crate) fn check(files: &Files) -> Vec<String> {
    let tests = tests(files);
    let mut found = Vec::new();
    for (path, text) in files.with_ending(".rs") {
        let room = crate_of(path);
        for version in text.lines().filter_map(version) {
            let missing = missing(room, version, &tests);
            found.extend(missing.into_iter().map(|what| {
                format!("{path}: format version {version} needs a test named like {what}")
            }));
        }
    }
    found.extend(without_fixture(files));
    found
}

/// The newest version of each format that nodes store, by the file that holds it.
pub(crate) fn stored(files: &Files) -> BTreeMap<&str, u32> {
    let mut stored = BTreeMap::new();
    for (path, text) in files.with_ending(".rs") {
        let is_test = path.ends_with("_test.rs");
        if STORING.contains(&crate_of(path)) && !is_test {
            let newest = text.lines().filter_map(version).max();
            stored.extend(newest.map(|version| (path, version)));
        }
    }
    stored
}

/// Versions that no fixture has, one line each.
pub(crate) fn without_fixture(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    let mut kept = BTreeSet::new();
    for (path, text) in files.with_ending(LISTED) {
        if !path.starts_with(FIXTURES) {
            continue;
        }
        match text.parse::<Table>() {
            Ok(table) => kept.extend(table.into_iter().map(|(file, version)| {
                let version = version.as_integer().unwrap_or_default();
                (file, version)
            })),
            Err(error) => found.push(format!("{path}: {}", error.message())),
        }
    }
    for (path, newest) in stored(files) {
        for version in 1..=newest {
            if !kept.contains(&(path.to_owned(), i64::from(version))) {
                found.push(format!(
                    "{path}: no fixture has its version {version}: run `make fixture`"
                ));
            }
        }
    }
    found
}

fn version(line: &str) -> Option<u32> {
    let rest = line.trim_start();
    let (before, rest) = rest.split_once("const ")?;
    if !(before.is_empty() || before.starts_with("pub")) {
        return None;
    }
    let (name, rest) = rest.split_once(':')?;
    if !(matches!(name, "VERSION" | "FORMAT") || name.ends_with("FORMAT_VERSION")) {
        return None;
    }
    let (_, value) = rest.split_once('=')?;
    value.trim().trim_end_matches(';').parse().ok()
}

fn missing(room: &str, version: u32, tests: &BTreeSet<(&str, &str)>) -> Vec<String> {
    let frozen: Vec<&str> = tests
        .iter()
        .filter(|(home, name)| *home == room && name.contains("frozen"))
        .map(|(_, name)| *name)
        .collect();
    if version <= 1 {
        return match frozen.as_slice() {
            [] => vec!["..frozen..".to_owned()],
            _ => Vec::new(),
        };
    }
    let names = |wanted: &str| {
        frozen
            .iter()
            .any(|name| name.split('_').any(|word| word == wanted))
    };
    (1..=version)
        .map(|version| format!("v{version}"))
        .filter(|wanted| !names(wanted))
        .map(|wanted| format!("..{wanted}..frozen.."))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(version: u32, names: &[&str]) -> Vec<String> {
        let mut files = Files::default();
        files.add("a/src/row.rs", &format!("const VERSION: u8 = {version};\n"));
        let tests: String = names
            .iter()
            .map(|name| format!("#[test]\nfn {name}() {{}}\n"))
            .collect();
        files.add("a/src/row_test.rs", &tests);
        files.add("b/src/x.rs", "#[test]\nfn rows_are_frozen() {}\n");
        check(&files)
    }

    #[test]
    fn a_format_without_a_frozen_test_is_found() {
        assert_eq!(with(1, &["rows_are_frozen"]), [""; 0]);
        assert_eq!(with(1, &["rows_are_read"]).len(), 1);
        assert_eq!(with(1, &[]).len(), 1);
    }

    #[test]
    fn each_later_version_needs_its_own() {
        assert_eq!(with(2, &["rows_are_frozen"]).len(), 2);
        let both = ["rows_v1_are_frozen", "rows_v2_are_frozen"];
        assert_eq!(with(2, &both), [""; 0]);
        assert_eq!(with(3, &both).len(), 1);
    }

    #[test]
    fn a_stored_version_without_a_fixture_is_found() {
        let mut files = Files::default();
        files.add("proto/src/codec.rs", "pub const FORMAT_VERSION: u8 = 2;\n");
        files.add("cli/src/plan.rs", "const FORMAT: u32 = 7;\n");
        assert_eq!(without_fixture(&files).len(), 2);
        let one = "\"proto/src/codec.rs\" = 1\n";
        files.add("jepsen/fixtures/format-1/formats.toml", one);
        assert_eq!(without_fixture(&files).len(), 1);
        let two = "\"proto/src/codec.rs\" = 2\n";
        files.add("jepsen/fixtures/format-2/formats.toml", two);
        assert_eq!(without_fixture(&files), [""; 0]);
        files.add("jepsen/fixtures/format-3/formats.toml", "x");
        assert_eq!(without_fixture(&files).len(), 1);
    }

    #[test]
    fn only_versions_of_formats_count() {
        assert_eq!(version("pub const FORMAT_VERSION: u8 = 3;"), Some(3));
        assert_eq!(version("    const FORMAT: u32 = 1;"), Some(1));
        assert_eq!(version("pub const STREAM_VERSION_MAX: u32 = 1;"), None);
        assert_eq!(version("const VERSION: &str = env!(\"X\");"), None);
    }
}
