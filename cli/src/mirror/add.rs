//! `curlew mirror add`.

use super::sides;
use crate::exit::Finding;
use crate::progress::Progress;
use crate::{duration, output};
use anyhow::{Context, Result, bail};
use meta_client::{ClientError, MetaUrl, Mirroring};
use meta_core::outcome::Refusal;
use std::time::Duration;
use tokio::time::Instant;

/// How long the two clusters may take to answer a request, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at how far the mirror is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Make a mirror of a volume in another cluster, and wait until it follows
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The volume: curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "ORIGIN-URL")]
    origin: MetaUrl,
    /// The other cluster, and the volume's name there
    #[arg(value_name = "MIRROR-URL")]
    mirror: MetaUrl,
    /// What the mirror is called, for example after its cloud
    #[arg(long, value_name = "NAME")]
    name: String,
    /// How long to wait until it follows; 0 returns at once, and it goes on by itself
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    timeout: Duration,
}

/// Runs the command.
pub(crate) async fn run(args: AddArgs) -> Result<Finding> {
    let progress = Progress::new();
    let added = add(
        &args.origin,
        &args.mirror,
        &args.name,
        args.timeout,
        &progress,
    )
    .await?;
    drop(progress);
    if let Added::Stopped(why) = added {
        bail!("the mirror has {why}");
    }
    output::text_out(&format!(
        "mirror {} follows {}: read from it with\n  curlew mount {} MOUNTPOINT --mirror {}\n",
        args.name, args.origin, args.origin, args.mirror
    ))?;
    Ok(Finding::Fine)
}

/// What became of a mirror.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Added {
    /// It follows, or is left to come to that by itself.
    Follows,
    /// It stopped for good, and why.
    Stopped(String),
}

/// Makes a mirror and waits until it follows.
pub(crate) async fn add(
    origin: &MetaUrl,
    mirror: &MetaUrl,
    name: &str,
    timeout: Duration,
    progress: &Progress,
) -> Result<Added> {
    progress.step("asking both clusters");
    let both = Mirroring::connect(origin, mirror, CLUSTER_LIMIT).await?;
    match both.add(name).await {
        Ok(()) => {}
        Err(ClientError::Refused(Refusal::VolumeExists)) => bail!(
            "the other cluster has another volume called `{}`; choose another name in MIRROR-URL",
            mirror.volume
        ),
        Err(ClientError::Refused(Refusal::InvalidArgument)) => bail!(
            "`{name}` cannot name a mirror, or both URLs are of one cluster; a name is of lower \
             case letters, digits and dashes"
        ),
        Err(error) => return Err(error).context("cannot make the mirror"),
    }
    let until = Instant::now() + timeout;
    while !timeout.is_zero() {
        let said = sides::ask(mirror).await;
        let state = match &said {
            Ok(said) if said.mirror.following => return Ok(Added::Follows),
            Ok(said) if said.mirror.stopped => return Ok(Added::Stopped(said.stop())),
            Ok(said) if said.mirror.trouble.is_empty() => said.mirror.state.clone(),
            Ok(said) => output::plain(&said.mirror.trouble),
            Err(error) => format!("{error:#}"),
        };
        progress.step(&format!("the mirror is not there yet: {state}"));
        if Instant::now() >= until {
            bail!(
                "the mirror does not follow yet ({state}); it goes on by itself: \
                 `curlew mirror status {origin}` shows it"
            );
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(Added::Follows)
}
