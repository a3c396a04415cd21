//! `curlew status`.

use super::{gather, table, wrong};
use crate::exit::Finding;
use crate::{output, target};
use anyhow::Result;

/// Show a volume, the metadata nodes and the sessions
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME, or a directory on a mounted volume
    #[arg(value_name = "META-URL|MOUNTPOINT")]
    target: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: StatusArgs) -> Result<Finding> {
    let url = target::resolve(&args.target)?;
    let sight = gather::gather(&url).await;
    let wrong = wrong::list(&sight);
    if args.json {
        output::json(&sight.report())?;
    } else {
        output::text_out(&table::render(&sight))?;
    }
    for finding in &wrong {
        eprintln!("curlew: {finding}");
    }
    Ok(if wrong.is_empty() {
        Finding::Fine
    } else {
        Finding::Wrong
    })
}
