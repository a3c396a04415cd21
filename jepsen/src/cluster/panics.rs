//! Panics that nobody was told of: a thread of a node or of a mount panics, and the process runs on.

use super::Cluster;
use crate::process;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

impl Cluster {
    /// What nodes, and mounts whose logs are in this run's directory, said when threads of theirs
    /// panicked.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn panics(&self) -> Result<Vec<String>> {
        panics_in(self.dir())
    }

    /// Looks for panics, of which there must be none.
    ///
    /// # Errors
    /// When there is one, which is quoted; when a log cannot be read.
    pub fn no_panics(&self) -> Result<()> {
        let found = self.panics()?;
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    }
}

/// Panics in all logs of a run's directory.
fn panics_in(dir: &Path) -> Result<Vec<String>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let of_us = name.starts_with("node") || name.starts_with("mount");
        if of_us && name.ends_with(".log") {
            logs.push(path.clone());
        }
    }
    logs.sort();
    let mut found = Vec::new();
    for log in logs {
        found.extend(process::panics(&log)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_nodes_and_mounts_are_found_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("written");
        };
        fs::create_dir(dir.path().join("node1")).expect("a node's data");
        write("node1/000007.log", "panicked at a row of RocksDB");
        write("node1.toml", "panicked at");
        write("s3.log", "panicked at the bucket");
        write("node1.log", "started\nstopped\n");
        assert_eq!(panics_in(dir.path()).expect("read"), Vec::<String>::new());
        let panic = "thread 'x' panicked at src/x.rs:1:1:\nno such row\n";
        write("node2.log", panic);
        write("mount0.log", panic);
        let found = panics_in(dir.path()).expect("read");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("mount0.log"), "{found:?}");
        assert!(found[1].contains("node2.log"), "{found:?}");
        assert!(found[1].ends_with("no such row"), "{found:?}");
    }
}
