//! A real tree to copy: whole top-level directories of what cargo has fetched.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a tree must have at least, and may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeBounds {
    /// Files at least.
    pub(super) files_min: usize,
    /// Bytes at least.
    pub(super) bytes_min: u64,
    /// Bytes at most.
    pub(super) bytes_max: u64,
}

/// A file to copy.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Where it goes, below the copy's own directory.
    pub(super) target: PathBuf,
    /// Its length.
    pub(super) bytes: u64,
}

/// Files and the directories that they need, parents first.
#[derive(Clone, Default, Debug)]
pub(super) struct Tree {
    /// The files.
    pub(super) files: Vec<SourceFile>,
    /// The directories, as paths below the copy's own directory.
    pub(super) dirs: BTreeSet<PathBuf>,
}

impl Tree {
    /// All bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Takes top-level directories of `roots`, in the order of their names, until there is enough.
    ///
    /// # Errors
    /// When there is not enough, or a directory cannot be read.
    pub(super) fn collect(roots: &[PathBuf], bounds: TreeBounds) -> Result<Self> {
        let mut tree = Self::default();
        for root in roots {
            for top in sorted_entries(root)? {
                if tree.files.len() >= bounds.files_min && tree.bytes() >= bounds.bytes_min {
                    return Ok(tree);
                }
                let mut part = Self::default();
                part.add(&top, root)?;
                // One huge package must not fill the whole allowance before there are enough files.
                let room = bounds.bytes_max.saturating_sub(tree.bytes());
                let fair = bounds.bytes_max / 3;
                if part.bytes() <= room.min(fair) {
                    tree.files.append(&mut part.files);
                    tree.dirs.append(&mut part.dirs);
                }
            }
        }
        if tree.files.len() < bounds.files_min || tree.bytes() < bounds.bytes_min {
            bail!(
                "found only {} files with {} MB under {roots:?}; {} files and {} MB are needed: \
                 run `cargo fetch` first, or name more directories with --tree",
                tree.files.len(),
                tree.bytes() / 1_000_000,
                bounds.files_min,
                bounds.bytes_min / 1_000_000
            );
        }
        Ok(tree)
    }

    fn add(&mut self, path: &Path, root: &Path) -> Result<()> {
        let about = fs::symlink_metadata(path)
            .with_context(|| format!("cannot stat {}", path.display()))?;
        let target = path
            .strip_prefix(root)
            .context("an entry lies below its root")?;
        if about.is_dir() {
            self.dirs.insert(target.to_owned());
            for entry in sorted_entries(path)? {
                self.add(&entry, root)?;
            }
        } else if about.is_file() {
            self.files.push(SourceFile {
                path: path.to_owned(),
                target: target.to_owned(),
                bytes: about.len(),
            });
        }
        Ok(())
    }
}

fn sorted_entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = read
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot read {}", dir.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(files_min: usize, bytes_min: u64, bytes_max: u64) -> TreeBounds {
        TreeBounds {
            files_min,
            bytes_min,
            bytes_max,
        }
    }

    #[test]
    fn a_tree_stops_when_there_is_enough_and_leaves_out_what_is_too_big() {
        let dir = tempfile::tempdir().expect("temp dir");
        for (name, count, bytes) in [("a", 3, 10), ("b", 1, 500), ("c", 3, 10), ("d", 3, 10)] {
            let sub = dir.path().join(name).join("src");
            fs::create_dir_all(&sub).expect("mkdir");
            for index in 0..count {
                fs::write(sub.join(format!("f{index}")), vec![7; bytes]).expect("write");
            }
        }
        let roots = [dir.path().to_owned()];
        let tree = Tree::collect(&roots, bounds(5, 50, 300)).expect("enough");
        assert_eq!((tree.files.len(), tree.bytes()), (6, 60));
        let dirs: Vec<&str> = tree.dirs.iter().filter_map(|dir| dir.to_str()).collect();
        assert_eq!(dirs, ["a", "a/src", "c", "c/src"]);
        let error = Tree::collect(&roots, bounds(50, 50, 300)).expect_err("not enough");
        assert!(error.to_string().contains("cargo fetch"), "{error}");
    }
}
