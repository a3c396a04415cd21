//! `curlew umount`.

use super::server::Server;
use crate::exit::Finding;
use crate::runtime::block_on;
use crate::{mount_table, patience};
use anyhow::{Context, Result, anyhow, bail};
use fs_client::mount::{UmountMode, umount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an unmount may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the mount may take to write out what it holds after that. Longer than it tries to store
/// a block again, so that its own words are heard if it cannot.
const FLUSH_LIMIT: Duration = Duration::from_secs(90);

/// Unmount a volume; what was written is stored first, or this fails
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
    // Who asks for less than a clean end is not told how it went.
    let server = (how == Detach::Clean).then(|| Server::of(&point));
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
        None => Ok(Finding::Fine),
        Some(Ok(server)) => block_on(wait_stored(&point, &server)).map(|()| Finding::Fine),
        Some(Err(why)) => Err(why.context(format!(
            "{} is unmounted, but whether everything written to it was stored is not known",
            point.display()
        ))),
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

/// The mount's process ends when all that was written is stored, or cannot be.
async fn wait_stored(point: &Path, server: &Server) -> Result<()> {
    if server.wait_gone(FLUSH_LIMIT).await {
        return server
            .stored()
            .with_context(|| format!("{} is unmounted, but did not end well", point.display()));
    }
    bail!(
        "{} is unmounted, but its process {} is still storing what was written; let it end \
         before you turn this machine off",
        point.display(),
        server.pid()
    )
}
