//! What may come from outside: licences, sources, banned packages, and versions that were decided.

use crate::spdx;
use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, Package};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Packages whose version was decided: another one needs a decision, not an update.
const DECIDED: &[(&str, &str)] = &[
    ("bincode", "2.0.1"),
    ("openraft", "0.10.0-alpha.37"),
    ("openraft-macros", "0.10.0-alpha.37"),
    ("openraft-rt", "0.10.0-alpha.37"),
    ("openraft-rt-tokio", "0.10.0-alpha.37"),
    ("rocksdb", "0.25.0"),
    ("fuser", "0.18.0"),
    ("aws-sdk-s3", "1.157.0"),
];

/// The part of deny.toml that is understood here.
struct Policy {
    licences: Vec<String>,
    /// Banned packages, and why.
    banned: Vec<(String, String)>,
}

/// What of a package the rules look at.
struct Outside<'a> {
    name: &'a str,
    version: String,
    licence: &'a str,
    /// It comes from the one public registry.
    registered: bool,
}

/// Packages that are built, as (name, version).
pub(crate) type Built = BTreeSet<(String, String)>;

/// Packages that are built and break a rule.
pub(crate) fn check(metadata: &Metadata, built: &Built, deny: &str) -> Result<Vec<String>> {
    let policy = Policy::read(deny).context("deny.toml")?;
    let is_built = |package: &&Package| {
        built.contains(&(package.name.to_string(), package.version.to_string()))
    };
    let packages = metadata.packages.iter().filter(is_built);
    let packages = packages.map(|package| Outside {
        name: package.name.as_str(),
        version: package.version.to_string(),
        licence: package.license.as_deref().unwrap_or_default(),
        // Our own have no source.
        registered: package
            .source
            .as_ref()
            .is_none_or(|source| source.is_crates_io()),
    });
    Ok(packages
        .flat_map(|package| policy.problems(&package))
        .collect())
}

impl Policy {
    fn read(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let list = |section: &str, key: &str| -> Result<Vec<Value>> {
            let found = table.get(section).and_then(|section| section.get(key));
            let list = found.and_then(Value::as_array).cloned();
            list.with_context(|| format!("[{section}] has no list `{key}`"))
        };
        let licences = list("licenses", "allow")?
            .iter()
            .map(|licence| licence.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .context("a licence is a text")?;
        let banned = list("bans", "deny")?
            .iter()
            .map(|ban| {
                let get = |key: &str| ban.get(key).and_then(Value::as_str).map(str::to_owned);
                Some((get("crate")?, get("reason")?))
            })
            .collect::<Option<_>>()
            .context("a ban names a crate and a reason")?;
        Ok(Self { licences, banned })
    }

    fn problems(&self, package: &Outside<'_>) -> Vec<String> {
        let Outside { name, licence, .. } = package;
        let mut found = Vec::new();
        if !spdx::is_allowed(licence, &self.licences) {
            found.push(format!(
                "{name}: the licence {licence:?} is not on the list of deny.toml"
            ));
        }
        if let Some((_, why)) = self.banned.iter().find(|(banned, _)| banned == name) {
            found.push(format!("{name} is banned: {why}"));
        }
        let decided = DECIDED.iter().find(|(decided, _)| decided == name);
        if let Some((_, version)) = decided
            && *version != package.version
        {
            let here = &package.version;
            found.push(format!("{name}: {version} was decided, and this is {here}"));
        }
        if !package.registered {
            found.push(format!("{name} does not come from the registry"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\"MIT\"]\n\
                        [bans]\ndeny = [{ crate = \"ring\", reason = \"one provider\" }]\n";

    fn package(name: &'static str) -> Outside<'static> {
        Outside {
            name,
            version: "2.0.1".to_owned(),
            licence: "MIT OR X",
            registered: true,
        }
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let policy = Policy::read(DENY).expect("a policy");
        assert_eq!(policy.problems(&package("bincode")), [""; 0]);
        assert_eq!(policy.problems(&package("ring")).len(), 1);
        assert_eq!(policy.problems(&package("openraft")).len(), 1);
        let licence = "X";
        let foreign = Outside {
            licence,
            registered: false,
            ..package("other")
        };
        assert_eq!(policy.problems(&foreign).len(), 2);
    }

    #[test]
    fn a_policy_that_is_not_understood_is_refused() {
        for text in ["", "[licenses]\nallow = [1]\n[bans]\ndeny = []\n", "[["] {
            assert!(Policy::read(text).is_err(), "{text}");
        }
        let silent = DENY.replace(", reason = \"one provider\"", "");
        assert!(Policy::read(&silent).is_err());
    }

    #[test]
    fn the_policy_of_this_repository_is_understood() {
        let text = include_str!("../../deny.toml");
        let policy = Policy::read(text).expect("a policy");
        assert!(policy.licences.contains(&"Apache-2.0".to_owned()));
    }
}
