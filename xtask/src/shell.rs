//! Running other programs.

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
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

/// What is really built, as (name, version): a lock file and `cargo metadata` also name packages
/// that only a switched-off feature would want.
pub(crate) fn built(root: &Path) -> Result<BTreeSet<(String, String)>> {
    let mut command = Command::new("cargo");
    command.args(["tree", "--workspace", "--all-features", "--locked"]);
    command.args(["--edges", "normal,build,dev", "--prefix", "none"]);
    let output = command.args(["--format", "{p}"]).current_dir(root).output();
    let output = output.context("cargo does not start")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).context("cargo tree")?;
    Ok(text.lines().filter_map(package).collect())
}

/// `name v1.2.3 (and more)`.
fn package(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name.to_owned(), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_tree_names_a_package() {
        let named = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(package("libc v0.2.191"), named("libc", "0.2.191"));
        assert_eq!(
            package("proto v0.1.0 (/src/proto)"),
            named("proto", "0.1.0")
        );
        assert_eq!(package("[dev-dependencies]"), None);
        assert_eq!(package(""), None);
    }

    #[test]
    fn what_is_built_has_this_crate_and_its_dependencies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = built(&root).expect("cargo tree");
        let has = |name: &str| built.iter().any(|(built, _)| built == name);
        assert!(has("xtask") && has("anyhow") && has("openraft"));
        assert!(!has("ring"));
    }
}
