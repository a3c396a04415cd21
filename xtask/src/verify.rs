//! All that must hold before a change goes in, one step after the other.

use crate::shell::{cargo, has_cargo_command};
use crate::tidy;
use anyhow::{Result, bail};
use std::path::Path;

type Step = fn(&Path) -> Result<()>;

const STEPS: &[(&str, Step)] = &[
    ("tidy", tidy::run),
    ("format", format),
    ("lints", lints),
    ("documentation", documentation),
    ("cargo-deny", deny),
    ("advisories", advisories),
];

/// Runs every step, also after one failed: all that is wrong is told at once.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if let Err(error) = step(root) {
            eprintln!("verify: {name}: {error:#}");
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        println!("verify: everything is in order");
        return Ok(());
    }
    bail!("verify: failed: {}", failed.join(", "))
}

/// Applies what can be applied by a machine.
pub(crate) fn fix(root: &Path) -> Result<()> {
    let lints = ["clippy", "--release", "--workspace", "--all-targets"];
    let apply = ["--fix", "--allow-dirty", "--allow-staged"];
    cargo(root, &[&lints[..], &apply].concat(), &[])?;
    cargo(root, &["fmt", "--all"], &[])
}

fn format(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"], &[])
}

// The release profile and the whole workspace, like the build: another choice of either would
// compile RocksDB again.
fn lints(root: &Path) -> Result<()> {
    let lints = ["clippy", "--release", "--locked", "--workspace"];
    let strict = ["--all-targets", "--", "-D", "warnings"];
    cargo(root, &[&lints[..], &strict].concat(), &[])
}

fn documentation(root: &Path) -> Result<()> {
    let build = ["doc", "--release", "--locked", "--workspace", "--no-deps"];
    cargo(root, &build, &[("RUSTDOCFLAGS", "-D warnings")])
}

fn deny(root: &Path) -> Result<()> {
    if !has_cargo_command("deny") {
        println!("verify: cargo-deny is not installed; `tidy` checked licences, bans and sources");
        return Ok(());
    }
    let check = ["deny", "--locked", "check", "licenses", "bans", "sources"];
    cargo(root, &check, &[])
}

/// Known weaknesses of what we depend on. Their list comes from the network: where it cannot be
/// had nothing is known, which is not the same as in order.
fn advisories(root: &Path) -> Result<()> {
    if !has_cargo_command("deny") {
        return skipped("cargo-deny is not installed");
    }
    if cargo(root, &["deny", "fetch", "db"], &[]).is_err() {
        return skipped("the advisory database cannot be reached");
    }
    cargo(root, &["deny", "--locked", "check", "advisories"], &[])
}

fn skipped(why: &str) -> Result<()> {
    eprintln!("verify: SKIPPED: advisories were NOT checked: {why}");
    Ok(())
}
