//! Running other programs.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::Command;

/// Runs cargo in the workspace, and shows what it runs.
pub(crate) fn cargo(root: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("+ {line}");
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .envs(env.iter().copied())
        .current_dir(root);
    let status = command.status().context("cargo does not start")?;
    if !status.success() {
        bail!("`{line}` failed");
    }
    Ok(())
}

/// Whether `cargo NAME` is installed.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    let mut command = Command::new("cargo");
    let answered = command.args([name, "--version"]).output();
    answered.is_ok_and(|output| output.status.success())
}

/// The target that this machine builds for.
pub(crate) fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.context("rustc does not start")?;
    let text = String::from_utf8(output.stdout).context("rustc -vV")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc -vV does not name its host")
}
