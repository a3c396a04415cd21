//! `curlew mirror verify`.

use super::sides;
use crate::changelog::hex;
use crate::exit::Finding;
use crate::progress::Progress;
use crate::{duration, output, target};
use anyhow::{Context, Result, bail};
use meta_client::{Cluster, Mirroring, Verified};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// How long the origin may take to answer.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);

/// Compare every row of a volume's mirrors with the origin, at one change
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The origin: its META-URL, or a directory on a mount of it
    #[arg(value_name = "ORIGIN-URL|MOUNTPOINT")]
    target: String,
    /// Only this mirror
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long a mirror may take to get to the change
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration::parse)]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    volume: String,
    mirrors: Vec<MirrorReport>,
}

#[derive(Debug, Serialize)]
struct MirrorReport {
    name: String,
    agrees: bool,
    epoch: u16,
    seq: u64,
    rows: u64,
    digest: String,
    /// Whether the digest that a side stores is the one of its rows: origin, mirror.
    digests_hold: (bool, bool),
    /// The last keys of ranges that differ: table tag and key in hexadecimal.
    differences: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: VerifyArgs) -> Result<Finding> {
    let url = target::resolve(&args.target)?;
    let progress = Progress::new();
    progress.step("asking the origin for its mirrors");
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    let mut known = sides::known(&cluster, &url).await?;
    known.retain(|known| args.name.as_ref().is_none_or(|name| *name == known.name));
    if known.is_empty() {
        bail!("the volume has no such mirror; `curlew mirror status {url}` lists them");
    }
    let mut mirrors = Vec::new();
    for known in known {
        progress.step(&format!("comparing mirror {}", known.name));
        let mirror = known.url.map_err(anyhow::Error::msg);
        let mirror = mirror.with_context(|| format!("mirror {}", known.name))?;
        let both = Mirroring::connect(&url, &mirror, args.timeout).await;
        let both = both.with_context(|| format!("mirror {}", known.name))?;
        let verified = both.verify().await;
        let verified = verified.with_context(|| format!("mirror {}", known.name))?;
        mirrors.push(report(known.name, &verified));
    }
    drop(progress);
    let agree = mirrors.iter().all(|mirror| mirror.agrees);
    let report = Report {
        volume: url.volume.clone(),
        mirrors,
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&text(&report))?;
    }
    if agree {
        return Ok(Finding::Fine);
    }
    eprintln!(
        "curlew: a mirror differs from its origin: do not read from it; make another with `curlew mirror add`"
    );
    Ok(Finding::Wrong)
}

fn report(name: String, verified: &Verified) -> MirrorReport {
    let differences = verified.differences.iter();
    MirrorReport {
        name,
        agrees: verified.agrees(),
        digests_hold: verified.digests_hold,
        epoch: verified.mark.epoch.0,
        seq: verified.mark.seq.0,
        rows: verified.rows,
        digest: format!("{:032x}", verified.digest),
        differences: differences.map(|d| hex(&d.through)).collect(),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for mirror in &report.mirrors {
        let agrees = if mirror.agrees { "agrees" } else { "DIFFERS" };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{}: {agrees} at change {}:{}, {} rows, digest {}",
            mirror.name, mirror.epoch, mirror.seq, mirror.rows, mirror.digest
        );
        for (side, holds) in [
            ("the origin", mirror.digests_hold.0),
            ("the mirror", mirror.digests_hold.1),
        ] {
            if !holds && mirror.differences.is_empty() {
                let _infallible =
                    writeln!(text, "  {side} stores another digest than its rows have");
            }
        }
        for difference in &mirror.differences {
            let _infallible = writeln!(text, "  up to key {difference}");
        }
    }
    text
}
