//! Developer tasks. `verify` only reads and is what CI runs; `fix` writes; `tidy` is the fast part
//! of `verify`: style and dependency arrows as a test.

mod arrows;
mod policy;
mod tidy;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Parser)]
#[command(name = "xtask", about = "Developer tasks of Curlew")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks everything without changing anything
    Verify,
    /// Formats, and applies what the lints suggest
    Fix,
    /// Checks files, words and dependency arrows
    Tidy,
}

fn main() -> Result<()> {
    let root = root()?;
    match Arguments::parse().task {
        Task::Tidy => tidy(&root),
        Task::Fix => fix(&root),
        Task::Verify => verify(&root),
    }
}

/// The workspace: the directory above this crate's.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(Path::to_owned)
        .context("xtask lies in the workspace")
}

fn tidy(root: &Path) -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root)
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let mut found = tidy::check(root)?;
    found.extend(arrows::check(&metadata));
    found.extend(policy::check(&metadata));
    for problem in &found {
        eprintln!("tidy: {problem}");
    }
    if found.is_empty() {
        println!("tidy: files, arrows and licences are in order");
        Ok(())
    } else {
        bail!("{} problems", found.len())
    }
}

fn fix(root: &Path) -> Result<()> {
    cargo(
        root,
        &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--fix",
            "--allow-dirty",
        ],
    )?;
    cargo(root, &["fmt", "--all"])
}

fn verify(root: &Path) -> Result<()> {
    tidy(root)?;
    cargo(root, &["fmt", "--all", "--check"])?;
    let lints = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--locked",
    ];
    cargo(root, &[&lints[..], &["--", "-D", "warnings"]].concat())?;
    cargo(
        root,
        &["doc", "--release", "--workspace", "--no-deps", "--locked"],
    )?;
    advisories(root)
}

/// Known vulnerabilities need a database from the network: where there is none, say so.
fn advisories(root: &Path) -> Result<()> {
    let there = Command::new("cargo").args(["audit", "--version"]).output();
    if there.is_ok_and(|output| output.status.success()) {
        // bincode 2 is unmaintained; it is pinned, fenced in one module, and read with limits.
        return cargo(root, &["audit", "--ignore", "RUSTSEC-2025-0141"]);
    }
    println!("SKIPPED: the advisory check, because cargo-audit is not installed");
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    println!("cargo {}", arguments.join(" "));
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cargo does not start")?;
    if status.success() {
        Ok(())
    } else {
        bail!("cargo {} failed", arguments.join(" "))
    }
}
