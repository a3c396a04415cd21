//! What `curlew summary` is asked for.

use std::path::PathBuf;

/// Show what directories add up to, the biggest first
///
/// A directory tells its total at once, however much lies below it: nothing below --depth is read. It counts
/// itself among its directories. Files count as what they are long, rounded up to 4 KiB; one with several
/// names counts in directories where its first name is, and is shown under each.
#[derive(Debug, clap::Args)]
pub(crate) struct SummaryArgs {
    /// A directory on a mount; or the volume's curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "PATH|META-URL")]
    pub(super) at: PathBuf,
    /// With a META-URL: a directory, by its path from the volume's root; the root if not given
    #[arg(value_name = "PATH")]
    pub(super) inside: Option<PathBuf>,
    /// Directories below it that are looked into; 0 shows the directory alone
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(super) depth: u32,
    /// Names that are shown in each directory; the others are one line
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) entries: u32,
    /// Print comma-separated values, sizes in bytes
    #[arg(long, conflicts_with = "json")]
    pub(super) csv: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}
