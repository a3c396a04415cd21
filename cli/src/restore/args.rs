//! What `curlew restore` and `curlew trash` are asked for.

use crate::{duration, when};
use meta_client::MetaUrl;
use meta_core::attr::Timestamp;
use meta_core::limits::SLOTS_PER_SESSION_MAX;
use std::path::PathBuf;
use std::time::Duration;

/// Put back what was removed and is still in the trash, with all that was in it
///
/// PATH is the path that it had, from the volume's root. Directories above it that were removed come back
/// too. If PATH is a directory that is there, all that was removed from it and from the directories in it
/// comes back where its name is free: so the same command goes on after an interruption. Under each name
/// the latest comes back. A file that had several names comes back under the last that it had. Only its
/// owner may restore a file, in a directory that the owner may write to, and root may restore all.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    /// What to put back
    #[arg(value_name = "PATH", required_unless_present = "id")]
    pub(super) path: Option<PathBuf>,
    /// Only tell what is in the trash at PATH and below: when it was removed, its size, number and path
    #[arg(long, conflicts_with_all = ["at", "id", "to", "since"])]
    pub(super) list: bool,
    /// The latest that was removed by this time, such as 2026-11-23T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::parse, conflicts_with = "id")]
    pub(super) at: Option<Timestamp>,
    /// The file of this number, as --list tells it
    #[arg(long, value_name = "NUMBER", requires = "to")]
    pub(super) id: Option<u64>,
    /// Put it there, which must be a free name in a directory that is there
    #[arg(long, value_name = "PATH")]
    pub(super) to: Option<PathBuf>,
    /// In directories, leave in the trash what was removed before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub(super) since: Option<Timestamp>,
    /// Commands on the way at once, each of up to 256 files
    #[arg(short = 'p', long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_PER_SESSION_MAX)))]
    pub(super) threads: u32,
    /// Print one JSON object; with --list, one for each file
    #[arg(long)]
    pub(super) json: bool,
}

/// List what is in the trash, or empty it
#[derive(Debug, clap::Args)]
pub(crate) struct TrashArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    /// At this path and below; the whole volume if not given
    #[arg(value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
    /// Delete it for good, as root
    #[arg(long)]
    pub(super) purge: bool,
    /// Only what was removed longer ago than this, such as 12h
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "purge")]
    pub(super) older_than: Option<Duration>,
    /// Print one JSON object; without --purge, one for each file
    #[arg(long)]
    pub(super) json: bool,
}
