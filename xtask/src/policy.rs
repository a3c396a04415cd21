//! What may come from outside: licences, sources, and packages that are banned.

use cargo_metadata::Metadata;

/// Licences that Apache-2.0 software may ship with.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that must not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "one TLS provider only: aws-lc-rs"),
    ("ring", "one TLS provider only: aws-lc-rs"),
    ("raft-engine", "the log is kept on RocksDB"),
];

/// Packages whose version is fixed: another needs a decision.
const PINNED: &[(&str, &str)] = &[
    ("bincode", "2.0.1"),
    ("openraft", "0.10.0-alpha.37"),
    ("fuser", "0.18.0"),
];

/// Packages that break a rule.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let licence = package.license.as_deref().unwrap_or_default();
        if !is_allowed(licence) && package.license_file.is_none() {
            found.push(format!(
                "{name} has the licence {licence:?}, which is not on the list"
            ));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            found.push(format!("{name} is banned: {why}"));
        }
        let version = package.version.to_string();
        if PINNED
            .iter()
            .any(|(pinned, at)| *pinned == name && *at != version)
        {
            found.push(format!(
                "{name} {version} is not the version that was decided"
            ));
        }
        let outside = package
            .source
            .as_ref()
            .is_some_and(|source| !source.is_crates_io());
        if outside {
            found.push(format!("{name} does not come from the registry"));
        }
    }
    found
}

/// Whether one of the choices of an SPDX expression is on the list with all its parts.
fn is_allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|part| LICENCES.contains(&part.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn one_allowed_choice_is_enough_and_all_its_parts_count() {
        assert!(is_allowed("MIT OR GPL-3.0"));
        assert!(is_allowed("Apache-2.0/MIT"));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!is_allowed("GPL-3.0"));
        assert!(!is_allowed("MIT AND GPL-3.0"));
        assert!(!is_allowed(""));
    }
}
