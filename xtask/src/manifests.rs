//! Rules of the crates' manifests.

use crate::files::{Files, crate_of};

/// Names that say nothing about what lives there.
const BANNED: [&str; 8] = [
    "common", "core", "errors", "helpers", "misc", "shared", "types", "utils",
];

/// What breaks a rule, one line each.
pub(crate) fn check(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files.with_ending("/Cargo.toml") {
        let room = crate_of(path);
        let Ok(manifest) = text.parse::<toml::Table>() else {
            found.push(format!("{path}: is no manifest"));
            continue;
        };
        // It has other compile settings on purpose, and nothing to take from here.
        if manifest.contains_key("workspace") {
            continue;
        }
        let get = |table: &str, key: &str| manifest.get(table).and_then(|table| table.get(key));
        if get("lints", "workspace") != Some(&true.into()) {
            found.push(format!("{path}: does not take the workspace's lints"));
        }
        let name = get("package", "name").and_then(toml::Value::as_str);
        let last = name.unwrap_or_default().rsplit("::").next();
        if name != Some(room) {
            found.push(format!(
                "{path}: the crate has another name than its folder"
            ));
        }
        if last.is_some_and(|last| BANNED.contains(&last)) {
            found.push(format!(
                "{path}: {room} says nothing about what lives there"
            ));
        }
        if manifest.contains_key("profile") {
            found.push(format!("{path}: compile settings stand in the root only"));
        }
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = manifest.get(table).and_then(toml::Value::as_table);
            for (package, how) in dependencies.into_iter().flatten() {
                if how.get("workspace") != Some(&true.into()) {
                    found.push(format!("{path}: {package} takes its version from the root"));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(room: &str, text: &str) -> Vec<String> {
        let mut files = Files::default();
        files.add(&format!("{room}/Cargo.toml"), text);
        check(&files)
    }

    #[test]
    fn a_workspace_of_its_own_has_its_own_rules() {
        let text = "[workspace]\n[package]\nname = \"other\"\n[profile.release]\nlto = true\n";
        assert!(with("fuzz/libfuzzer", text).is_empty());
    }

    #[test]
    fn a_manifest_takes_lints_and_versions_from_the_root() {
        let good = "[package]\nname = \"a\"\n[lints]\nworkspace = true\n[dependencies]\n\
                    b.workspace = true\nc = { workspace = true, features = [\"d\"] }\n";
        assert_eq!(with("a", good), [""; 0]);
        assert_eq!(with("a", &good.replace("[lints]", "[lint]")).len(), 1);
        assert_eq!(with("a", &format!("{good}e = \"1\"\n")).len(), 1);
        assert_eq!(with("a", &format!("{good}[profile.dev]\n")).len(), 1);
        assert_eq!(with("b", good).len(), 1);
        assert_eq!(with("a", "[[").len(), 1);
    }

    #[test]
    fn empty_names_are_refused() {
        let text = "[package]\nname = \"utils\"\n[lints]\nworkspace = true\n";
        assert_eq!(with("utils", text).len(), 1);
    }
}
