//! `curlew mirror`: makes mirrors of a volume in other clusters, shows how far they are, and
//! compares them with their origin.

mod add;
mod args;
mod remove;
mod sides;
mod status;
mod verify;
mod wait;

pub(crate) use add::{Added, add};
pub(crate) use args::MirrorArgs;

use crate::exit::Finding;
use anyhow::Result;
use args::MirrorCommand;

/// Runs the command.
pub(crate) async fn run(args: MirrorArgs) -> Result<Finding> {
    match args.command {
        MirrorCommand::Add(args) => add::run(args).await,
        MirrorCommand::Remove(args) => remove::run(args).await,
        MirrorCommand::Status(args) => status::run(args).await,
        MirrorCommand::Verify(args) => verify::run(args).await,
        MirrorCommand::Wait(args) => wait::run(args).await,
    }
}
