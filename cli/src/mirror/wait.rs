//! `curlew mirror wait`.

use crate::exit::Finding;
use crate::{duration, output};
use anyhow::Result;
use meta_client::{ClientError, Cluster, Failure, MetaUrl};
use meta_core::ids::{Epoch, Seq};
use meta_core::outcome::Token;
use std::time::Duration;

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
    let cluster = Cluster::connect(&args.url.addrs, args.timeout).await?;
    let volume = cluster.find_volume(&args.url.volume).await?;
    match cluster.reach(volume.id, args.seq).await {
        Ok(stat) => {
            let (epoch, seq) = (stat.token.epoch, stat.token.seq);
            output::text_out(&format!("reached: the mirror is at {epoch}:{seq}\n"))?;
            Ok(Finding::Fine)
        }
        Err(ClientError::Failed(Failure::Behind(why))) => {
            eprintln!("curlew: not reached in time: {why}");
            Ok(Finding::Wrong)
        }
        Err(error) => Err(error.into()),
    }
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
