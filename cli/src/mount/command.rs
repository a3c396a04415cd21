//! `curlew mount`.

use super::args::MountArgs;
use super::detached::start_detached;
use super::options;
use crate::exit::Finding;
use crate::logging;
use crate::runtime::block_on;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Runs the command.
pub(crate) fn run(args: MountArgs) -> Result<Finding> {
    let options = options::parse(&args)?;
    if args.background {
        let log = match &args.log {
            Some(log) => absolute(log)?,
            None => default_log()?,
        };
        block_on(start_detached(&args, &log, None))?;
        return Ok(Finding::Fine);
    }
    logging::start(args.log.as_deref())?;
    let mounted = fs_client::mount::mount(&args.url, &args.point, options)?;
    tracing::info!(url = %args.url, mountpoint = %args.point.display(), "mounted");
    mounted.wait()?;
    tracing::info!("unmounted");
    Ok(Finding::Fine)
}

/// Where logs go by default, as users of this field know it.
fn default_log() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/log/curlew.log".into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set; say where to log with --log")?;
    Ok(Path::new(&home).join(".curlew").join("curlew.log"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}
