//! Keeps what a node of this build stores, when a format has a version that no fixture has. A fixture
//! that is there is never changed.

use crate::files::Files;
use crate::formats::{FIXTURES, LISTED, stored, without_fixture};
use crate::previous;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes the next fixture with the programs that were built.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = Files::below(root)?;
    ensure!(
        !without_fixture(&files).is_empty(),
        "every version of every stored format has a fixture: another one is made when a version rises"
    );
    let fixtures = root.join(FIXTURES);
    fs::create_dir_all(&fixtures).with_context(|| fixtures.display().to_string())?;
    let dir = (1_u32..)
        .map(|number| fixtures.join(format!("format-{number}")))
        .find(|dir| !dir.exists())
        .context("a number that is free")?;
    let program = previous::target_dir(root)?.join("release/jepsen");
    let mut command = Command::new(&program);
    command.arg("fixture").arg("--dir").arg(&dir);
    let status = command.status();
    let status = status.with_context(|| program.display().to_string())?;
    ensure!(status.success(), "no fixture was made");
    let mut text = String::new();
    for (path, version) in stored(&files) {
        writeln!(text, "\"{path}\" = {version}")?;
    }
    let listed = dir.join(LISTED);
    fs::write(&listed, text).with_context(|| listed.display().to_string())?;
    println!("fixture: {} is made: commit it", dir.display());
    Ok(())
}
