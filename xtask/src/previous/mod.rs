//! Builds the programs of the commit before the last one that touched a format, so that tests can
//! run them and this commit's together.
//!
//! They are left in `previous` in the build directory, with `COMMIT` beside them, which is written
//! last. Where the history does not reach back that far, `SKIPPED` says why instead.

mod git;
mod seed;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};
use git::Found;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What holds a format: whoever changes what is stored or sent changes one of these. This is the one
/// list. Tests beside them are no formats.
const FORMATS: &[&str] = &[
    "docs/format.md",
    "meta-core/src/changelog.rs",
    "meta-core/src/digest.rs",
    "meta-core/src/key.rs",
    "meta-core/src/row",
    "proto/proto",
    "proto/src/codec.rs",
    "proto/src/convert",
    "proto/src/frame.rs",
    "raft-store/src/log/entry.rs",
    "raft-store/src/log/file/place.rs",
    "raft-store/src/log/file/record.rs",
    "raft-store/src/log/file/recovery.rs",
    "raft-store/src/log/hint.rs",
    "raft-store/src/snapshot/manifest.rs",
    "raft-store/src/state/marks.rs",
    "raft-store/src/wire.rs",
];
const NO_FORMATS: &str = "*_test.rs";

/// What tests start.
const PROGRAMS: [&str; 2] = ["curlew-meta", "curlew"];

/// Where everything is.
struct Place {
    /// The build directory that the programs of this commit are in.
    target: PathBuf,
    /// What tests look at.
    dir: PathBuf,
    /// Packages and targets of the workspace, written with `_`.
    ours: BTreeSet<String>,
}

impl Place {
    fn of(root: &Path) -> Result<Self> {
        let metadata = packages(root)?;
        let target = metadata.target_directory.clone().into_std_path_buf();
        let dir = target.join("previous");
        let mut ours = BTreeSet::new();
        for package in &metadata.packages {
            ours.insert(package.name.replace('-', "_"));
            ours.extend(package.targets.iter().map(|t| t.name.replace('-', "_")));
        }
        Ok(Self { target, dir, ours })
    }

    fn programs(&self) -> impl Iterator<Item = PathBuf> {
        PROGRAMS.iter().map(|name| self.dir.join(name))
    }

    /// The commit whose programs are there, complete.
    fn built(&self) -> Option<String> {
        let commit = fs::read_to_string(self.commit()).ok()?;
        let complete = self.programs().all(|program| program.is_file());
        complete.then(|| commit.trim().to_owned())
    }

    fn commit(&self) -> PathBuf {
        self.dir.join("COMMIT")
    }

    fn skipped(&self) -> PathBuf {
        self.dir.join("SKIPPED")
    }

    /// The sources of that commit.
    fn source(&self) -> PathBuf {
        self.dir.join("source")
    }

    /// Where they are built.
    fn build(&self) -> PathBuf {
        self.dir.join("build")
    }
}

/// Where cargo leaves what it builds.
pub(crate) fn target_dir(root: &Path) -> Result<PathBuf> {
    Ok(packages(root)?.target_directory.into_std_path_buf())
}

/// The packages of the workspace.
fn packages(root: &Path) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    let metadata = command.current_dir(root).no_deps().exec();
    metadata.context("cargo metadata")
}

/// Builds what is not built yet.
pub(crate) fn run(root: &Path) -> Result<()> {
    let place = Place::of(root)?;
    fs::create_dir_all(&place.dir).with_context(|| place.dir.display().to_string())?;
    // Held to the end, so that two runs take turns.
    let lock = File::create(place.dir.join("lock")).context("cannot make the lock")?;
    lock.lock().context("cannot lock")?;
    let commit = match git::before_last_change(root, FORMATS, NO_FORMATS)? {
        Found::Commit(commit) => commit,
        Found::Nothing(why) => return skip(&place, &why),
    };
    if place.built().as_ref() == Some(&commit) {
        println!("previous: {commit} is built already");
        return Ok(());
    }
    let begin = Instant::now();
    forget(&place)?;
    build(root, &place, &commit).with_context(|| format!("the previous build, {commit}"))?;
    println!(
        "previous: {commit} is built, in {} s",
        begin.elapsed().as_secs()
    );
    Ok(())
}

/// Says so loudly, here and to the tests.
fn skip(place: &Place, why: &str) -> Result<()> {
    eprintln!("SKIPPED: previous: {why}; nothing is tested together with the previous build");
    forget(place)?;
    fs::write(place.skipped(), format!("{why}\n")).context("cannot say that it is skipped")
}

/// Takes away what an earlier run told the tests. The commit goes first, as it says that the rest is
/// complete.
fn forget(place: &Place) -> Result<()> {
    let told = [place.commit(), place.skipped()];
    for file in told.into_iter().chain(place.programs()) {
        remove(&file)?;
    }
    Ok(())
}

fn build(root: &Path, place: &Place, commit: &str) -> Result<()> {
    let source = place.source();
    // Of a run that was interrupted.
    clear_source(root, &source)?;
    git::add_worktree(root, &source, commit)?;
    let built = compile(place, commit);
    // Also after a failure, so that no worktree stays in the repository's list.
    clear_source(root, &source)?;
    built?;
    for name in PROGRAMS {
        let from = place.build().join("release").join(name);
        fs::copy(&from, place.dir.join(name)).with_context(|| from.display().to_string())?;
    }
    fs::write(place.commit(), format!("{commit}\n")).context("cannot name the commit")?;
    // A gigabyte that the next one is not built from.
    remove(&place.build())
}

fn compile(place: &Place, commit: &str) -> Result<()> {
    let release = place.target.join("release");
    let libraries = seed::fill(&release, &place.build(), commit, &place.ours)?;
    println!("previous: {libraries} files of libraries are there already");
    // All packages, as in the build of this commit: the features of libraries are the same then.
    // RocksDB is compiled again if the older commit has it in another version.
    let mut arguments = vec!["build", "--release", "--locked", "--workspace"];
    arguments.extend(PROGRAMS.iter().flat_map(|name| ["--bin", name]));
    println!("+ cargo {} (at {commit})", arguments.join(" "));
    let mut command = Command::new("cargo");
    command.args(&arguments).current_dir(place.source());
    command.env("CARGO_TARGET_DIR", place.build());
    let status = command.status().context("cargo does not start")?;
    ensure!(status.success(), "it does not build");
    Ok(())
}

/// Takes a worktree away, complete or not, and what the repository knows of it.
fn clear_source(root: &Path, source: &Path) -> Result<()> {
    remove(source)?;
    git::prune_worktrees(root)
}

/// Removes a file or directory, if there is one.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for path in FORMATS {
            assert!(root.join(path).exists(), "{path} has moved");
        }
    }

    #[test]
    fn programs_count_only_with_their_commit() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place {
            target: dir.path().to_owned(),
            dir: dir.path().join("previous"),
            ours: BTreeSet::new(),
        };
        fs::create_dir(&place.dir).expect("made");
        for name in PROGRAMS {
            fs::write(place.dir.join(name), "").expect("written");
        }
        assert_eq!(place.built(), None);
        fs::write(place.commit(), "abc\n").expect("written");
        assert_eq!(place.built().as_deref(), Some("abc"));
        skip(&place, "shallow").expect("skipped");
        assert_eq!(place.built(), None);
        assert!(place.programs().all(|program| !program.exists()));
        let why = fs::read_to_string(place.skipped()).expect("readable");
        assert_eq!(why, "shallow\n");
        forget(&place).expect("forgotten, twice");
        assert!(!place.skipped().exists());
    }
}
