//! Rules of documents: links lead somewhere, and promises name tests that are there.

use crate::files::{Files, crate_of};
use crate::source::function_name;
use std::collections::BTreeSet;

/// What stands before the name of the test that holds a promise.
const PROMISE: &str = "test: `";

/// What breaks a rule, one line each.
pub(crate) fn check(files: &Files) -> Vec<String> {
    let tests = tests(files);
    let mut found = Vec::new();
    for (path, text) in files.with_ending(".md") {
        let dead = links(text)
            .into_iter()
            .filter(|link| !resolved(path, link).is_some_and(|target| files.exists(&target)));
        found.extend(dead.map(|link| format!("{path}: the link to {link} leads nowhere")));
        found.extend(
            promises(text, &tests)
                .into_iter()
                .map(|name| format!("{path}: there is no test {name}")),
        );
    }
    found
}

/// Tests as (crate, name).
pub(crate) fn tests(files: &Files) -> BTreeSet<(&str, &str)> {
    let mut found = BTreeSet::new();
    for (path, text) in files.with_ending(".rs") {
        let mut is_test = false;
        for line in text.lines() {
            let line = line.trim_start();
            if let Some(attribute) = line.strip_prefix("#[") {
                let word = attribute.split([']', '(']).next().unwrap_or_default();
                is_test |= word.split("::").last() == Some("test");
            } else if let Some(name) = function_name(line) {
                if is_test {
                    found.insert((crate_of(path), name));
                }
                is_test = false;
            }
        }
    }
    found
}

/// Targets of relative links, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let inline = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        let defined = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| (target, ""));
        for (target, _) in inline.chain(defined) {
            let target = target.split('#').next().unwrap_or_default();
            let target = target.split_whitespace().next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The path from the top that a link in `document` leads to; `None` if it leads out.
fn resolved(document: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => document.split('/').collect(),
    };
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Names of promised tests that are not there. A name may say its crate: `meta-core::apply::name`.
fn promises<'a>(text: &'a str, tests: &BTreeSet<(&str, &str)>) -> Vec<&'a str> {
    let named = text
        .split(PROMISE)
        .skip(1)
        .filter_map(|rest| rest.split_once('`').map(|(name, _)| name));
    named
        .filter(|path| {
            let parts: Vec<&str> = path.split("::").collect();
            let name = parts.last().copied().unwrap_or_default();
            let home = (parts.len() > 1).then(|| parts[0].replace('_', "-"));
            !tests
                .iter()
                .any(|(room, test)| *test == name && home.as_ref().is_none_or(|home| home == room))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        let mut files = Files::default();
        files.add("docs/format.md", "");
        files.add(
            "docs/a.md",
            "[a](format.md#x) [b](../README.md) [c](https://x/y) [d](#e)\n```\n[e](f.md)\n```\n",
        );
        assert_eq!(
            check(&files),
            ["docs/a.md: the link to ../README.md leads nowhere"]
        );
        files.add("README.md", "[x]: docs/none.md\n[docs](docs/)");
        assert_eq!(
            check(&files),
            ["README.md: the link to docs/none.md leads nowhere"]
        );
        assert_eq!(resolved("README.md", "../x"), None);
    }

    #[test]
    fn promises_name_tests_that_are_there() {
        let mut files = Files::default();
        files.add(
            "meta-core/src/a.rs",
            "#[test]\nfn it_holds() {}\nfn no_test() {}\n\
             #[tokio::test(flavor = \"x\")]\n#[expect(x)]\n    async fn it_waits() {}\n",
        );
        let promise = |text: &str| promises(text, &tests(&files)).len();
        assert_eq!(promise("- a, test: `it_holds`.\n- b, test: `it_waits`."), 0);
        assert_eq!(promise("test: `meta-core::apply::it_holds`"), 0);
        assert_eq!(promise("test: `meta_core::it_holds`"), 0);
        assert_eq!(promise("test: `proto::it_holds`"), 1);
        assert_eq!(promise("test: `no_test`, test: `gone`"), 2);
    }
}
