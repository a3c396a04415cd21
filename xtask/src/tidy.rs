//! Rules of files: their length, their letters, words that must not stay, links, tests of promises.

use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const BANNED_ROOMS: [&str; 4] = ["common", "utils", "types", "errors"];

/// What breaks a rule, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    let mut found = Vec::new();
    let mut tests = BTreeSet::new();
    for path in files.iter().filter(|path| has_extension(path, "rs")) {
        let text = read(path)?;
        let shown = shown(root, path);
        found.extend(
            source(&text)
                .into_iter()
                .map(|problem| format!("{shown}: {problem}")),
        );
        tests.extend(functions(&text));
    }
    for path in files.iter().filter(|path| has_extension(path, "md")) {
        let text = read(path)?;
        let shown = shown(root, path);
        let here = path.parent().unwrap_or(root);
        let dead = links(&text)
            .into_iter()
            .filter(|link| !here.join(link).exists());
        found.extend(dead.map(|link| format!("{shown}: the link to {link} leads nowhere")));
    }
    found.extend(promises(&read(&root.join("docs/SEMANTICS.md"))?, &tests));
    found.extend(manifests(root)?);
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let skipped = name == "target" || name == "demo" || name.to_string_lossy().starts_with('.');
        // The demo's directory at the root holds mounts; a source folder of that name does not.
        let source = name == "demo" && directory.ends_with("src");
        if skipped && !source {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn source(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{lines} lines; {FILE_LINES_MAX} at most"));
    }
    // The words are put together here, so that this file does not hold them.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
    ];
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if !line.is_ascii() {
            found.push(format!("line {number} holds letters outside ASCII"));
        }
        if words.iter().any(|word| line.contains(word.as_str())) {
            found.push(format!("line {number} says that something is unfinished"));
        }
    }
    found
}

/// Names of functions, tests among them.
fn functions(text: &str) -> Vec<String> {
    let named = text
        .lines()
        .filter_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
    named
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

/// Targets of relative links.
fn links(text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// Each `test: name` of the promises is a function that exists.
fn promises(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let named = text
        .split("test: `")
        .skip(1)
        .filter_map(|rest| rest.split_once('`'));
    let lost = named.filter(|(name, _)| !tests.contains(*name));
    lost.map(|(name, _)| format!("docs/SEMANTICS.md: there is no test {name}"))
        .collect()
}

fn manifests(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let directory = entry?.path();
        let manifest = directory.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let name = shown(root, &directory);
        if !read(&manifest)?.contains("[lints]\nworkspace = true") {
            found.push(format!("{name}: does not take the workspace's lints"));
        }
        if BANNED_ROOMS.contains(&name.as_str()) {
            found.push(format!(
                "{name}: that name says nothing about what lives there"
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_foreign_letters_are_found() {
        assert!(source("fn a() {}\n").is_empty());
        assert_eq!(source(&"x\n".repeat(801)).len(), 1);
        assert_eq!(source("// caf\u{e9}\n").len(), 1);
    }

    #[test]
    fn links_and_promises_are_followed() {
        assert_eq!(links("[a](b.md#c) [d](https://e) [f](#g)"), ["b.md"]);
        let tests = BTreeSet::from(["there".to_owned()]);
        assert!(promises("x, test: `there`", &tests).is_empty());
        assert_eq!(promises("x, test: `gone`", &tests).len(), 1);
        assert_eq!(functions("    async fn there() {"), ["there"]);
    }
}
