//! `curlew mirror remove`.

use crate::exit::Finding;
use crate::output;
use anyhow::{Context, Result, bail};
use meta_client::{Cluster, MetaUrl};
use std::time::Duration;

/// How long the cluster may take to answer a request, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);

/// Let a volume forget a mirror, for example one whose cluster is gone: nothing waits for it any more
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The volume: curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "ORIGIN-URL")]
    origin: MetaUrl,
    /// What the mirror is called
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Runs the command.
pub(crate) async fn run(args: RemoveArgs) -> Result<Finding> {
    let cluster = Cluster::connect(&args.origin.addrs, CLUSTER_LIMIT)
        .await
        .context("cannot reach the origin")?;
    let volume = cluster.find_volume(&args.origin.volume).await?;
    let known = cluster.followers(volume.id).await?;
    if known.iter().all(|(name, _)| *name != args.name) {
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let has = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        bail!("{} has no mirror `{}`: {has}", args.origin, args.name);
    }
    // Without a place it is forgotten.
    cluster
        .note_follower(volume.id, &args.name, Vec::new())
        .await
        .context("cannot forget the mirror")?;
    output::text_out(&format!(
        "{} has forgotten mirror {}; what its cluster holds stays there, and follows on if it can\n",
        args.origin, args.name
    ))?;
    Ok(Finding::Fine)
}
