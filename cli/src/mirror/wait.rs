//! `curlew mirror wait`.

use super::sides;
use crate::exit::Finding;
use crate::{duration, output};
use anyhow::{Result, anyhow};
use meta_client::{ClientError, Cluster, MetaUrl};
use meta_core::ids::{Epoch, Seq};
use meta_core::outcome::{Refusal, Token};
use meta_core::query::VolumeStat;
use std::time::Duration;
use tokio::time::Instant;

/// How long one question may take, before it is looked whether the mirror stopped meanwhile.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at a mirror that is not to be waited for by a question.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Wait until a mirror has applied a change
#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// The mirror: curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "MIRROR-URL")]
    url: MetaUrl,
    /// The change, as `status` shows it for the origin
    #[arg(long, value_name = "EPOCH:SEQ", value_parser = parse_token)]
    seq: Token,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration::parse)]
    timeout: Duration,
}

/// Runs the command.
pub(crate) async fn run(args: WaitArgs) -> Result<Finding> {
    let until = Instant::now() + args.timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let why = match reach(&args, left.min(LOOK_LIMIT)).await {
            Ok(stat) => {
                let (epoch, seq) = (stat.token.epoch, stat.token.seq);
                output::text_out(&format!("reached: the mirror is at {epoch}:{seq}\n"))?;
                return Ok(Finding::Fine);
            }
            Err(ClientError::Refused(refusal)) if refusal != Refusal::MirrorLoading => {
                return Err(ClientError::Refused(refusal).into());
            }
            Err(error) => anyhow!(error),
        };
        let state = match sides::ask(&args.url).await {
            Ok(said) if said.mirror.stopped => {
                eprintln!("curlew: the mirror has {}", said.stop());
                return Ok(Finding::Wrong);
            }
            Ok(said) if said.mirror.following => format!("{why:#}"),
            Ok(said) => output::plain(&format!("{}: {why:#}", said.mirror.state)),
            Err(_it_was_asked_before) => format!("{why:#}"),
        };
        if Instant::now() + LOOK_INTERVAL >= until {
            eprintln!("curlew: not reached in time: {state}");
            return Ok(Finding::Wrong);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn reach(args: &WaitArgs, limit: Duration) -> Result<VolumeStat, ClientError> {
    let cluster = Cluster::connect(&args.url.addrs, limit).await?;
    let volume = cluster.find_volume(&args.url.volume).await?;
    cluster.reach(volume.id, args.seq).await
}

fn parse_token(text: &str) -> Result<Token, String> {
    let wrong = || format!("`{text}` is no change; write EPOCH:SEQ, for example 0:1234");
    let (epoch, seq) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Token {
        epoch: Epoch(epoch.parse().map_err(|_error| wrong())?),
        seq: Seq(seq.parse().map_err(|_error| wrong())?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_an_epoch_and_a_number() {
        let token = parse_token("1:20").expect("a change");
        assert_eq!((token.epoch, token.seq), (Epoch(1), Seq(20)));
        for wrong in ["", "5", "1:", ":1", "70000:1", "a:b", "1:2:3"] {
            assert!(parse_token(wrong).is_err(), "{wrong}");
        }
    }
}
