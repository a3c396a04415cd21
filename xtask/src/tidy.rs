//! The rules of this repository, each found broken or kept by reading files alone.

use crate::files::Files;
use crate::{arrows, documents, formats, manifests, policy, shell, source};
use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::Path;

/// Checks all rules and shows what breaks them.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = Files::below(root)?;
    let metadata = metadata(root)?;
    let mut found = source::check(&files);
    found.extend(documents::check(&files));
    found.extend(formats::check(&files));
    found.extend(manifests::check(&files));
    found.extend(arrows::check(&metadata, files.text("ARCHITECTURE.md")));
    found.extend(policy::check(
        &metadata,
        &shell::built(root)?,
        files.text("deny.toml"),
    )?);
    for problem in &found {
        eprintln!("tidy: {problem}");
    }
    if !found.is_empty() {
        bail!("{} rules are broken", found.len());
    }
    println!("tidy: files, documents, arrows and licences are in order");
    Ok(())
}

/// Packages as they are resolved for this machine, where everything they need was fetched.
fn metadata(root: &Path) -> Result<Metadata> {
    let options = ["--locked", "--filter-platform", &shell::host()?];
    let mut command = MetadataCommand::new();
    command.current_dir(root);
    command.other_options(options.map(str::to_owned).to_vec());
    command.exec().context("cargo metadata")
}
