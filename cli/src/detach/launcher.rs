//! The launcher's side: a hidden subcommand that turns into another program.

use super::detached::{OWN_NAME, own_program};
use crate::atomic_file;
use crate::process::ProcessId;
use anyhow::{Context, Result, anyhow};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The first descriptor that is neither stdin, stdout nor stderr.
const FIRST_INHERITED: RawFd = 3;

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct LauncherArgs {
    /// Where to write which process this is
    #[arg(long)]
    record: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program; returns only if that fails. Must run before any thread is started.
pub(crate) fn run(args: LauncherArgs) -> Result<Infallible> {
    close_inherited()?;
    rustix::process::setsid().context("cannot leave the terminal's session")?;
    // A process that lives long must not keep the directory busy where somebody typed.
    rustix::process::chdir("/").context("cannot go to /")?;
    if let Some(record) = &args.record {
        atomic_file::write_json(record, &ProcessId::own()?)?;
    }
    let (program, arguments) = args.command.split_first().context("no program to run")?;
    let mut command = Command::new(program);
    if own_program().is_ok_and(|own| own.as_os_str() == program) {
        command.arg0(OWN_NAME);
    }
    let error = command.args(arguments).exec();
    Err(anyhow!("cannot run {}: {error}", program.to_string_lossy()))
}

/// Closes what a careless parent left open: a pipe that stays open in a mount keeps its reader
/// waiting for ever.
fn close_inherited() -> Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd").context("cannot list open descriptors")?;
    let descriptors: Vec<RawFd> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor >= FIRST_INHERITED)
        .collect();
    for descriptor in descriptors {
        match nix::unistd::close(descriptor) {
            // The listing itself had one, which is closed by now.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(error) => return Err(error).context("cannot close an inherited descriptor"),
        }
    }
    Ok(())
}
