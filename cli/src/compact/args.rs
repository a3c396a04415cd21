//! What `curlew compact` is asked for.

use meta_core::limits::SLOTS_PER_SESSION_MAX;
use std::path::PathBuf;

/// Put few slices in the place of many, so that files written in small pieces are read faster
///
/// What a file holds stays the same, and so do its times. Its slices are read, checked, written anew as few
/// large ones, and replaced, 64 MiB of it at a time. Mounts do this by themselves where it pays; this does
/// it wherever it makes slices fewer. What cannot be read stays as it is and is told. Only root may.
#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {
    /// A file or directory on a mount; or the volume's curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL|PATH")]
    pub(super) at: PathBuf,
    /// With a META-URL: files and directories, by their paths from the volume's root, / for all; else more of
    /// them on mounts
    #[arg(value_name = "PATH")]
    pub(super) more: Vec<PathBuf>,
    /// Chunks of 64 MiB that are compacted at a time
    #[arg(short = 'p', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_PER_SESSION_MAX)))]
    pub(super) threads: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}
