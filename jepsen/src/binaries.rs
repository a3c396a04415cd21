//! Where the binaries under test are.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;

/// Finds `name` among what `cargo build --release` left: beside this executable or above it (a
/// test runs from `deps`), in the `release` directory beside that of a debug build, else under
/// `CARGO_TARGET_DIR`.
///
/// # Errors
/// When it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this executable is")?;
    let above = || own.ancestors().skip(1).take(3);
    let beside = above().map(|dir| dir.join(name));
    let sibling = above().map(|dir| dir.join("release").join(name));
    let configured =
        env::var_os("CARGO_TARGET_DIR").map(|dir| PathBuf::from(dir).join("release").join(name));
    for candidate in beside.chain(sibling).chain(configured) {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("`{name}` is not built: run `make build failpoints` first")
}
