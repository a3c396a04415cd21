//! `curlew umount`.

use crate::exit::Finding;
use crate::process::ProcessId;
use crate::runtime::block_on;
use crate::target::Mounted;
use crate::{mount_table, patience};
use anyhow::{Context, Result, anyhow, bail};
use fs_client::mount::{UmountMode, umount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an unmount may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the mount may take to write out what it holds after that.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

/// Unmount a volume; what was written is stored first
#[derive(Debug, clap::Args)]
pub(crate) struct UmountArgs {
    /// Where the volume is mounted
    #[arg(value_name = "MOUNTPOINT")]
    point: PathBuf,
    /// Cut off requests in flight, for a mount that hangs
    #[arg(short = 'f', long)]
    force: bool,
    /// Take the mount out of the tree now, and let those who use it finish
    #[arg(short = 'l', long, conflicts_with = "force")]
    lazy: bool,
}

/// How a mount is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detach {
    /// Only if nobody uses it.
    Clean,
    /// Requests in flight are cut off.
    Force,
    /// Now; who uses it keeps it until done.
    Lazy,
}

/// Runs the command.
pub(crate) fn run_umount(args: &UmountArgs) -> Result<Finding> {
    let point = mount_table::normalise(&args.point)?;
    match mount_table::at(&point)? {
        Some(entry) if entry.is_curlew() => {}
        Some(_other) => bail!("{} is not a Curlew mount; use umount(8)", point.display()),
        None => bail!("{} is not mounted", point.display()),
    }
    let how = match (args.force, args.lazy) {
        (true, _) => Detach::Force,
        (_, true) => Detach::Lazy,
        _ => Detach::Clean,
    };
    // A dead or hung mount does not say which process served it: then there is none to wait for.
    let server = (how == Detach::Clean).then(|| server_of(&point)).flatten();
    let at = point.clone();
    patience::bounded(LIMIT, move || detach(&at, how)).ok_or_else(|| {
        anyhow!(
            "{0} has not been unmounted within {1} s; `curlew umount --force {0}` cuts off what \
             it waits for",
            point.display(),
            LIMIT.as_secs()
        )
    })??;
    match server {
        Some(server) => block_on(wait_stored(&point, &server)).map(|()| Finding::Fine),
        None => Ok(Finding::Fine),
    }
}

/// Takes the mount away.
pub(crate) fn detach(point: &Path, how: Detach) -> Result<()> {
    let mode = match how {
        Detach::Clean => UmountMode::Clean,
        Detach::Force => UmountMode::Force,
        Detach::Lazy => UmountMode::Lazy,
    };
    umount(point, mode).with_context(|| format!("cannot unmount {}", point.display()))
}

fn server_of(point: &Path) -> Option<ProcessId> {
    let pid = Mounted {
        point: point.to_owned(),
    }
    .server_pid()?;
    ProcessId::of(pid).ok().flatten()
}

/// The mount's process ends when all that was written is stored.
async fn wait_stored(point: &Path, server: &ProcessId) -> Result<()> {
    if server.wait_gone(FLUSH_LIMIT).await {
        return Ok(());
    }
    bail!(
        "{} is unmounted, but its process {} is still storing what was written; let it end \
         before you turn this machine off",
        point.display(),
        server.pid()
    )
}
