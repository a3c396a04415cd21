//! The text files of the repository, read once.

use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Directories at the top that hold no sources: build results, and the demo with its mounts.
const NOT_OURS: [&str; 2] = ["target", "demo"];
/// Hidden directories that are ours.
const HIDDEN: [&str; 2] = [".cargo", ".ci"];
/// What is read: by ending, or by whole name.
const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".proto", ".sh"];
const NAMES: [&str; 3] = ["Makefile", "run", "setup"];

/// Texts by path, as written from the top with slashes.
#[derive(Default)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
    /// Everything that is there, read or not, directories too.
    paths: BTreeSet<String>,
}

impl Files {
    pub(crate) fn below(root: &Path) -> Result<Self> {
        let mut files = Self::default();
        files.walk(root, "")?;
        Ok(files)
    }

    fn walk(&mut self, root: &Path, at: &str) -> Result<()> {
        let here = root.join(at);
        let entries = fs::read_dir(&here).with_context(|| here.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
            if at.is_empty() && (hidden || NOT_OURS.contains(&name.as_str())) {
                continue;
            }
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}/{name}")
            };
            self.paths.insert(path.clone());
            if entry.file_type()?.is_dir() {
                self.walk(root, &path)?;
            } else if ENDINGS.iter().any(|ending| name.ends_with(ending))
                || NAMES.contains(&name.as_str())
            {
                let text = fs::read(entry.path()).with_context(|| path.clone())?;
                self.add(&path, &String::from_utf8_lossy(&text));
            }
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, path: &str, text: &str) {
        let ends = path.match_indices('/').map(|(end, _)| end);
        self.paths.extend(ends.map(|end| path[..end].to_owned()));
        self.paths.insert(path.to_owned());
        self.texts.insert(path.to_owned(), text.to_owned());
    }

    /// A file's text; empty if there is no such file.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Whether a file or directory is there.
    pub(crate) fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// Paths and texts of the files with an ending.
    pub(crate) fn with_ending<'a>(
        &'a self,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let texts = self.texts.iter();
        texts
            .filter(move |(path, _)| path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Paths and texts of all that was read.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_ending("")
    }
}

/// The crate that a path lies in: its first directory.
pub(crate) fn crate_of(path: &str) -> &str {
    path.split_once('/').map_or("", |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_build_results_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in [
            "a/src/demo/b.rs",
            "target/c.rs",
            "demo/d.rs",
            ".git/e.rs",
            ".ci/run",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "text").expect("written");
        }
        let files = Files::below(dir.path()).expect("read");
        let found: Vec<_> = files.all().collect();
        assert_eq!(found, [(".ci/run", "text"), ("a/src/demo/b.rs", "text")]);
        assert!(files.exists("a/src") && !files.exists("a/none"));
        assert_eq!(crate_of("a/src/demo/b.rs"), "a");
    }
}
