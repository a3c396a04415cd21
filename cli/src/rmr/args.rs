//! What `curlew rmr` is asked for.

use meta_core::limits::SLOTS_PER_SESSION_MAX;
use std::path::PathBuf;

/// Remove directories with all below them, through the metadata engine and not through the mount
///
/// Many names go with one command, and many commands are on the way at once. What is removed, and what
/// is refused, is as with `rm -r`: a symlink is removed and not followed, and what may not be removed
/// stays and is told while the rest goes. Names that others remove meanwhile are no error.
#[derive(Debug, clap::Args)]
pub(crate) struct RmrArgs {
    /// What to remove, on a mount; or the volume's curlew://HOST:PORT[,HOST:PORT...]/VOLUME, with
    /// --path for what to remove
    #[arg(value_name = "PATH|META-URL", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// With a META-URL: what to remove, from the volume's root
    #[arg(long = "path", value_name = "PATH")]
    pub(super) inside: Vec<PathBuf>,
    /// Past the trash: what is removed cannot be restored. Only root may
    #[arg(long)]
    pub(super) skip_trash: bool,
    /// Commands on the way at once, each of up to 256 names
    #[arg(short = 'p', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_PER_SESSION_MAX)))]
    pub(super) threads: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}
