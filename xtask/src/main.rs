//! Developer tasks. `verify` only reads and is what CI runs; `fix` writes; `tidy` is the fast part
//! of `verify`: the rules of this repository that no other tool knows.
//!
//! It knows nothing of what the crates do. Start reading at `tidy` for the rules and at `arrows`
//! for which room may depend on which.

mod arrows;
mod documents;
mod files;
mod fixture;
mod formats;
mod fuzz;
mod manifests;
mod policy;
mod previous;
mod shell;
mod source;
mod spdx;
mod tidy;
mod verify;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(name = "xtask", about = "Developer tasks of Curlew")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything without changing anything
    Verify,
    /// Format, and apply what the lints suggest
    Fix,
    /// Check files, documents, dependency arrows and licences
    Tidy,
    /// Build the programs of the commit before the last one that touched a format
    Previous,
    /// Keep what a node of this build stores, when a format has a new version
    Fixture,
    /// Fuzz the decoders of bytes from disks and peers
    Fuzz {
        /// For each decoder
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only this one
        #[arg(long)]
        target: Option<String>,
    },
}

fn main() -> Result<()> {
    let root = root()?;
    match Arguments::parse().task {
        Task::Tidy => tidy::run(&root),
        Task::Fix => verify::fix(&root),
        Task::Verify => verify::run(&root),
        Task::Previous => previous::run(&root),
        Task::Fixture => fixture::run(&root),
        Task::Fuzz { seconds, target } => fuzz::run(&root, seconds, target.as_deref()),
    }
}

/// The workspace: the directory above this crate's.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(Path::to_owned)
        .context("xtask lies in the workspace")
}
