//! Arguments of `curlew mirror`.

use super::add::AddArgs;
use super::remove::RemoveArgs;
use super::status::StatusArgs;
use super::verify::VerifyArgs;
use super::wait::WaitArgs;

/// Make, watch and compare mirrors of a volume in other clusters
#[derive(Debug, clap::Args)]
pub(crate) struct MirrorArgs {
    #[command(subcommand)]
    pub(super) command: MirrorCommand,
}

/// What can be done with mirrors.
#[derive(Debug, clap::Subcommand)]
pub(super) enum MirrorCommand {
    Add(AddArgs),
    Remove(RemoveArgs),
    Status(StatusArgs),
    Verify(VerifyArgs),
    Wait(WaitArgs),
}
