//! Where the binaries under test are: those of this build, and those of the build before the last
//! change of a format; and the programs of others that they are tested with.

use crate::scratch::notice;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::PathBuf;

/// Says why there are no binaries of the previous build, where there can be none.
const NONE: &str = "SKIPPED";

/// Which binaries a process is started from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Build {
    /// Those of the sources that this crate belongs to.
    #[default]
    This,
    /// Those of the commit before the last one that touched a format.
    Previous,
}

impl Build {
    /// Both.
    pub const ALL: [Self; 2] = [Self::This, Self::Previous];

    /// The program `name` of this build.
    ///
    /// # Errors
    /// When it was not built, or cannot be had here.
    pub fn program(self, name: &str) -> Result<PathBuf> {
        match self {
            Self::This => binary(name),
            Self::Previous => previous(name)?.with_context(|| {
                format!("there is no previous `{name}`: the history does not reach back to it")
            }),
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::This => Self::Previous,
            Self::Previous => Self::This,
        }
    }
}

/// Finds `name` among what `cargo build --release` left: beside this executable or above it (a
/// test runs from `deps`), in the `release` directory beside that of a debug build, else under
/// `CARGO_TARGET_DIR`.
///
/// # Errors
/// When it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let beside = above()?.into_iter().map(|dir| dir.join(name));
    let candidates = beside.chain(below("release")?.into_iter().map(|dir| dir.join(name)));
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("`{name}` is not built: run `make build failpoints` first")
}

/// Finds `name` among what `make previous` left: the binaries of the commit before the last one that
/// touched a format. `None` where the history is too shallow to have that commit.
///
/// # Errors
/// When `make previous` did not run, or did not come to its end.
pub fn previous(name: &str) -> Result<Option<PathBuf>> {
    for dir in below("previous")? {
        // The commit is written last.
        let candidate = dir.join(name);
        if dir.join("COMMIT").is_file() && candidate.is_file() {
            return Ok(Some(candidate));
        }
        if dir.join(NONE).is_file() {
            return Ok(None);
        }
    }
    bail!("the previous `{name}` is not built: run `make previous` first")
}

/// Finds `name` among what `make tools` installed: programs of others that test file systems.
///
/// # Errors
/// When it was not installed.
pub fn tool(name: &str) -> Result<PathBuf> {
    let installed = below("tools")?.into_iter();
    let mut candidates = installed.map(|dir| dir.join("bin").join(name));
    let found = candidates.find(|candidate| candidate.is_file());
    found.with_context(|| format!("`{name}` is not installed: run `make tools` first"))
}

/// Says loudly that a test does not run when there is no previous build. Returns whether to skip.
///
/// # Errors
/// When there could be one, and it was not built.
pub fn skip_without_previous(test: &str) -> Result<bool> {
    if previous("curlew-meta")?.is_some() && previous("curlew")?.is_some() {
        return Ok(false);
    }
    let mut why = String::new();
    for dir in below("previous")? {
        let file = dir.join(NONE);
        if file.is_file() {
            why = fs::read_to_string(&file).context("cannot read why it is skipped")?;
        }
    }
    notice(&format!("SKIPPED: {test}: {}", why.trim()));
    Ok(true)
}

/// Where this executable is, and the directories above.
fn above() -> Result<Vec<PathBuf>> {
    let own = env::current_exe().context("cannot tell where this executable is")?;
    Ok(own.ancestors().skip(1).take(3).map(PathBuf::from).collect())
}

/// Directories of this name among those of the build, the nearest first.
fn below(name: &str) -> Result<Vec<PathBuf>> {
    let configured = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let all = above()?.into_iter().chain(configured);
    Ok(all.map(|dir| dir.join(name)).collect())
}
