//! What `curlew clone` is asked for.

use std::path::PathBuf;

/// Copy a directory with all below it, or a file, without reading or storing its data
///
/// The copy is made by the metadata servers and shares all data with what it was copied from; each can be
/// changed without the other. It appears all at once, as the source is at that moment, however large it is and
/// whatever is written meanwhile. If the command is ended before, the servers go on.
#[derive(Debug, clap::Args)]
pub(crate) struct CloneArgs {
    /// SRC and DST, two paths on mounts of one volume; or the volume's
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME and then SRC and DST, from the volume's root. Nothing may
    /// have the name DST yet
    #[arg(value_name = "PATH|META-URL", num_args = 0..=3)]
    pub(super) places: Vec<PathBuf>,
    /// Keep owners, modes, times and attributes; otherwise the copies are yours, as if just made
    #[arg(short = 'p', long)]
    pub(super) preserve: bool,
    /// With a META-URL alone: list copies that are being made, and those that ended within the last hour
    #[arg(long, conflicts_with_all = ["preserve", "cancel"])]
    pub(super) list: bool,
    /// With a META-URL alone: give up the copy with this number
    #[arg(long, value_name = "NUMBER", conflicts_with = "preserve")]
    pub(super) cancel: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}
