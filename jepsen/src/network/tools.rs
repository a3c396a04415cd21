//! The programs that change a network. Each acts on the namespace of the thread that starts it.

use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is used, and the Debian package that it is in.
const NEEDED: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("iptables-save", "iptables"),
    ("iptables-restore", "iptables"),
    ("setpriv", "util-linux"),
];

/// An error that names what is missing.
pub(super) fn all_there() -> Result<()> {
    NEEDED.iter().try_for_each(|(name, package)| {
        let found = tool(name).map(drop);
        found.with_context(|| format!("the package {package} is not installed"))
    })
}

/// Where a program is. Those for administrators are not on everybody's path.
pub(super) fn tool(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let listed = env::split_paths(&path);
    let others = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = listed.chain(others).map(|dir| dir.join(name));
    found
        .into_iter()
        .find(|path| Path::is_file(path))
        .with_context(|| format!("there is no program {name}"))
}

/// Runs a program with arguments that are parted by spaces, and gives what it said.
pub(super) fn run(name: &str, arguments: &str) -> Result<String> {
    feed(name, arguments, "")
}

/// The same, with `input` on its standard input.
pub(super) fn feed(name: &str, arguments: &str, input: &str) -> Result<String> {
    let mut child = Command::new(tool(name)?)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let Some(mut to) = child.stdin.take() else {
        bail!("{name} has no standard input");
    };
    // One that does not read its input says why itself.
    let written = to.write_all(input.as_bytes());
    drop(to);
    let output = child.wait_with_output();
    let output = output.with_context(|| format!("cannot wait for {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // `ss` says what it could not do, and ends well all the same.
    ensure!(
        output.status.success() && errors.trim().is_empty(),
        "{name} {arguments}: {}; {}\n{input}",
        output.status,
        errors.trim()
    );
    written.with_context(|| format!("{name} does not take its input"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
