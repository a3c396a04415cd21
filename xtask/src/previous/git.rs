//! What the history says, and worktrees.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::{Command, Output};

/// What was looked for.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The commit.
    Commit(String),
    /// The history here does not have it, and why.
    Nothing(String),
}

/// The parent of the last commit that changed one of `paths` outside of files like `except`.
///
/// # Errors
/// When git cannot be asked: that is not the history's fault.
pub(crate) fn before_last_change(root: &Path, paths: &[&str], except: &str) -> Result<Found> {
    // In a worktree it is a file.
    if !root.join(".git").exists() {
        return Ok(Found::Nothing("there is no history here".to_owned()));
    }
    let mut log = vec!["log", "-1", "--format=%H", "--"];
    let except = format!(":(exclude,glob)**/{except}");
    log.extend(paths.iter().copied().chain([&*except]));
    let changed = told(git(root, &log)?, "git log")?;
    let shallow = told(
        git(root, &["rev-parse", "--is-shallow-repository"])?,
        "git rev-parse",
    )?;
    let how = if shallow == "true" {
        "the history is shallow"
    } else {
        "the history is young"
    };
    if changed.is_empty() {
        return Ok(Found::Nothing(format!(
            "{how}: no commit of it touched a format"
        )));
    }
    // Where the history was cut off, and at its begin, a commit has no parent.
    let parent = format!("{changed}^1");
    let parent = git(root, &["rev-parse", "--verify", "--quiet", &parent])?;
    Ok(if parent.status.success() {
        Found::Commit(told(parent, "git rev-parse")?)
    } else {
        Found::Nothing(format!(
            "{how}: nothing is before {changed}, which touched a format"
        ))
    })
}

/// Puts the files of a commit into `source`.
pub(crate) fn add_worktree(root: &Path, source: &Path, commit: &str) -> Result<()> {
    let source = source.to_str().context("a path of plain text")?;
    let add = ["worktree", "add", "--quiet", "--force", "--detach"];
    let added = git(root, &[&add[..], &[source, commit]].concat())?;
    told(added, "git worktree add").map(drop)
}

/// Forgets worktrees whose files are gone.
pub(crate) fn prune_worktrees(root: &Path) -> Result<()> {
    told(git(root, &["worktree", "prune"])?, "git worktree prune").map(drop)
}

fn git(root: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(root);
    // Set where a hook runs this; they would lead to another place than `root`.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    command.output().context("git does not start")
}

fn told(output: Output, what: &str) -> Result<String> {
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).with_context(|| what.to_owned())?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn commit(root: &Path, file: &str, text: &str) -> String {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
        for arguments in [
            &["add", "."][..],
            &[
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.com",
                "commit",
                "--quiet",
                "-m",
                file,
            ],
        ] {
            told(git(root, arguments).expect("git"), "git").expect("done");
        }
        told(git(root, &["rev-parse", "HEAD"]).expect("git"), "git").expect("a commit")
    }

    fn init(root: &Path) {
        told(git(root, &["init", "--quiet"]).expect("git"), "git init").expect("done");
    }

    fn find(root: &Path) -> Found {
        before_last_change(root, &["rows", "format.md"], "*_test.rs").expect("an answer")
    }

    #[test]
    fn the_commit_before_the_last_change_of_a_format_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        assert!(matches!(find(root), Found::Nothing(_)), "no history");
        init(root);
        commit(root, "other", "1");
        assert!(matches!(find(root), Found::Nothing(_)), "no format");
        let before = commit(root, "other", "2");
        commit(root, "rows/a.rs", "1");
        commit(root, "other", "3");
        assert_eq!(find(root), Found::Commit(before));
        let before = commit(root, "rows/a_test.rs", "1");
        commit(root, "format.md", "1");
        commit(root, "rows/a_test.rs", "2");
        assert_eq!(find(root), Found::Commit(before));
    }

    #[test]
    fn a_history_that_begins_with_the_format_or_was_cut_off_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let whole = dir.path().join("whole");
        fs::create_dir(&whole).expect("made");
        init(&whole);
        commit(&whole, "format.md", "1");
        let Found::Nothing(why) = find(&whole) else {
            panic!("nothing is before the first commit")
        };
        assert!(why.contains("young"), "{why}");
        commit(&whole, "format.md", "2");
        commit(&whole, "other", "1");
        assert!(matches!(find(&whole), Found::Commit(_)));
        let address = format!("file://{}", whole.display());
        let clone = ["clone", "--quiet", "--depth", "2", &address, "cut"];
        told(git(dir.path(), &clone).expect("git"), "git clone").expect("cloned");
        let Found::Nothing(why) = find(&dir.path().join("cut")) else {
            panic!("the history was cut off")
        };
        assert!(why.contains("shallow"), "{why}");
    }

    #[test]
    fn a_worktree_that_was_left_behind_does_not_hinder_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("repository");
        fs::create_dir(&root).expect("made");
        init(&root);
        let first = commit(&root, "a", "1");
        let second = commit(&root, "a", "2");
        let source = dir.path().join("source");
        for commit in [first, second] {
            add_worktree(&root, &source, &commit).expect("added");
            assert!(source.join("a").is_file());
            fs::remove_dir_all(&source).expect("removed");
        }
        prune_worktrees(&root).expect("pruned");
        let list = told(git(&root, &["worktree", "list"]).expect("git"), "git").expect("a list");
        assert_eq!(list.lines().count(), 1, "{list}");
    }
}
