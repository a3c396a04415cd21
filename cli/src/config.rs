//! `curlew config`: shows what a volume is told to do, and tells it something else.

use crate::caller::caller;
use crate::exit::Finding;
use crate::progress::Progress;
use crate::quota::{self, LimitArgs, QuotaReport};
use crate::{duration, output, patience};
use anyhow::{Result, anyhow, bail};
use meta_client::{ClientError, Cluster, MetaUrl};
use meta_core::ids::VolumeId;
use meta_core::limits::TRASH_SECONDS_MAX;
use meta_core::outcome::{Refusal, Token};
use meta_core::quota::Subject;
use serde::Serialize;
use std::time::Duration;

/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);
/// How long a new volume may take to come to its level.
const RAISE_LIMIT: Duration = Duration::from_secs(10);

/// Show or change what a volume does
///
/// Without a flag it shows. What is changed goes for what there is already, too: with a shorter time in the
/// trash, what has been there longer goes at once.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    url: MetaUrl,
    /// How long removed files stay in the trash: days, such as 7 or 0.5, or a time such as 12h; with 0
    /// they are deleted at once
    #[arg(long, value_name = "DAYS", value_parser = trash_seconds)]
    trash_days: Option<u64>,
    #[command(flatten)]
    limit: LimitArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A time in the trash, in seconds.
pub(crate) fn trash_seconds(text: &str) -> Result<u64, String> {
    let seconds = duration::parse_days(text)?;
    if seconds > TRASH_SECONDS_MAX {
        return Err(format!("at most {} days", TRASH_SECONDS_MAX / 86_400));
    }
    Ok(seconds)
}

/// What a volume does, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Config {
    volume: String,
    level: u32,
    /// Missing where the volume's level has no trash.
    trash_seconds: Option<u64>,
    /// The limit of the whole volume. Missing where the volume's level has none.
    quota: Option<QuotaReport>,
}

impl Config {
    fn render(&self) -> String {
        let trash = match self.trash_seconds {
            None => format!(
                "none: volumes have one from level 3 on, and this is of {}",
                self.level
            ),
            Some(0) => "off: removed files are deleted at once".to_owned(),
            Some(seconds) => format!(
                "removed files are kept for {}",
                duration::days_text(seconds)
            ),
        };
        let limits = match &self.quota {
            None => format!(
                "  limits: none: volumes have them from level {} on, and this is of {}\n",
                quota::LEVEL,
                self.level
            ),
            Some(quota) => format!(
                "  bytes: {}\n  inodes: {}\n",
                quota.bytes_text(),
                quota.inodes_text()
            ),
        };
        format!(
            "volume {}\n  trash: {trash}\n{limits}",
            output::plain(&self.volume)
        )
    }
}

/// Runs the command.
pub(crate) async fn run(args: ConfigArgs) -> Result<Finding> {
    let progress = Progress::new();
    progress.step("asking the cluster");
    let cluster = Cluster::connect(&args.url.addrs, CLUSTER_LIMIT).await?;
    let volume = cluster.find_volume(&args.url.volume).await?;
    if let Some(seconds) = args.trash_days {
        set_trash(&cluster, volume.id, seconds).await?;
    }
    if !args.limit.is_empty() {
        if volume.level.0 < quota::LEVEL {
            return Err(quota::no_totals());
        }
        quota::limit(&cluster, volume.id, args.limit).await?;
    }
    let stat = cluster.reach(volume.id, Token::default()).await?;
    let limited = if volume.level.0 < quota::LEVEL {
        None
    } else {
        let usage = cluster.usage(volume.id, caller(), Subject::Volume);
        Some(QuotaReport::new(&usage.await?, None))
    };
    drop(progress);
    let config = Config {
        volume: volume.name,
        level: volume.level.0,
        trash_seconds: stat.trash.map(|trash| trash.seconds),
        quota: limited,
    };
    if args.json {
        output::json(&config)?;
    } else {
        output::text_out(&config.render())?;
    }
    Ok(Finding::Fine)
}

/// Tells a new volume how long it keeps what is removed, as soon as its level has a trash.
pub(crate) async fn set_trash_of_new(
    cluster: &Cluster,
    volume: VolumeId,
    seconds: u64,
) -> Result<()> {
    let told = patience::until_answered(RAISE_LIMIT, async || {
        match cluster.set_trash(volume, caller(), seconds).await {
            Err(ClientError::Refused(Refusal::NotSupported)) => None,
            ended => Some(ended),
        }
    });
    match told.await {
        Some(Ok(())) => Ok(()),
        // Who cannot is told why.
        Some(Err(_)) | None => set_trash(cluster, volume, seconds).await,
    }
}

/// Tells a volume how long it keeps what is removed.
pub(crate) async fn set_trash(cluster: &Cluster, volume: VolumeId, seconds: u64) -> Result<()> {
    match cluster.set_trash(volume, caller(), seconds).await {
        Err(ClientError::Refused(Refusal::NotSupported)) => Err(anyhow!(
            "the volume's level has no trash: it comes to level 3, and keeps what is removed for a day, once all \
             nodes and mirrors read that, unless node.toml says `raise_levels = false`"
        )),
        Err(ClientError::Refused(Refusal::NotPermitted)) => {
            bail!("only root says how long removed files are kept")
        }
        Err(ClientError::Refused(Refusal::Mirror)) => {
            bail!("the volume is a mirror: ask its origin")
        }
        ended => Ok(ended?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::quota::{Amount, Limit, Usage};

    #[test]
    fn a_config_says_what_becomes_of_removed_files() {
        let config = |trash_seconds| Config {
            volume: "v".to_owned(),
            level: 2,
            trash_seconds,
            quota: None,
        };
        let text = config(Some(86_400)).render();
        assert_eq!(
            text,
            "volume v\n  trash: removed files are kept for 1 day\n  limits: none: volumes have them from \
             level 4 on, and this is of 2\n"
        );
        assert!(config(Some(0)).render().contains("deleted at once"));
        assert!(config(None).render().contains("from level 3 on"));
    }

    #[test]
    fn a_config_tells_the_volumes_limit() {
        let usage = Usage {
            subject: Subject::Volume,
            amount: Amount {
                files: 3,
                directories: 0,
                bytes: 4096,
            },
            limit: Limit {
                bytes: Some(8192),
                inodes: None,
            },
            is_counted: true,
        };
        let config = Config {
            volume: "v".to_owned(),
            level: 4,
            trash_seconds: Some(0),
            quota: Some(QuotaReport::new(&usage, None)),
        };
        let text = config.render();
        let expected = "  bytes: 4.0 KiB of 8.0 KiB (50.0%)\n  inodes: 3, no limit\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_time_in_the_trash_is_bounded() {
        assert_eq!(trash_seconds("36500"), Ok(TRASH_SECONDS_MAX));
        assert!(trash_seconds("36501").is_err());
    }
}
