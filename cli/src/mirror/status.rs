//! `curlew mirror status`.

use super::sides::{self, Known, Said};
use crate::exit::Finding;
use crate::{output, target};
use anyhow::{Context, Result};
use meta_client::{Cluster, MetaUrl};
use meta_core::outcome::Token;
use serde::Serialize;
use std::time::Duration;

/// How long the origin may take to answer.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);
/// Looks at both sides until they are seen at the same change.
const LOOKS: usize = 20;
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Show a volume's mirrors: how far each is, and whether it agrees with the origin
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The origin: its META-URL, or a directory on a mount of it
    #[arg(value_name = "ORIGIN-URL|MOUNTPOINT")]
    target: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    volume: String,
    role: &'static str,
    epoch: u16,
    seq: u64,
    digest: String,
    mirrors: Vec<MirrorReport>,
}

/// One mirror. What is not known is null.
#[derive(Debug, Default, Serialize)]
struct MirrorReport {
    name: String,
    url: String,
    /// As the mirror says, or `unreachable`.
    state: String,
    /// The last change whose metadata is here.
    watermark: Option<u64>,
    /// The last change whose data can be read here, which is that of the origin's bucket.
    data_watermark: Option<u64>,
    lag_ms: Option<u64>,
    lag_records: Option<u64>,
    /// Whether the digests were seen to be equal at one change; null if the two were never seen at
    /// the same one.
    digests_agree: Option<bool>,
    /// Why there is no stream, or no answer.
    trouble: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: StatusArgs) -> Result<Finding> {
    let url = target::resolve(&args.target)?;
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    let known = sides::known(&cluster, &url).await?;
    let mut mirrors = Vec::new();
    for known in known {
        mirrors.push(look(&cluster, &url, known).await?);
    }
    let (token, digest) = position(&cluster, &url).await?;
    let report = Report {
        volume: url.volume.clone(),
        role: "origin",
        epoch: token.epoch.0,
        seq: token.seq.0,
        digest,
        mirrors,
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&text(&report))?;
    }
    let wrong = report.mirrors.iter().filter_map(wrong);
    let wrong: Vec<String> = wrong.collect();
    for words in &wrong {
        eprintln!("curlew: {words}");
    }
    Ok(if wrong.is_empty() {
        Finding::Fine
    } else {
        Finding::Wrong
    })
}

async fn position(cluster: &Cluster, url: &MetaUrl) -> Result<(Token, String)> {
    let info = cluster
        .find_volume(&url.volume)
        .await
        .with_context(|| format!("volume `{}`", url.volume))?;
    let stat = cluster.reach(info.id, Token::default()).await?;
    Ok((stat.token, stat.digest))
}

/// Looks at the mirror and then at the origin, until both are at one change.
async fn look(cluster: &Cluster, url: &MetaUrl, known: Known) -> Result<MirrorReport> {
    let mut report = MirrorReport {
        name: known.name,
        url: known.url.to_string(),
        ..MirrorReport::default()
    };
    for _look in 0..LOOKS {
        let said = match sides::ask(&known.url).await {
            Ok(said) => said,
            Err(error) => {
                "unreachable".clone_into(&mut report.state);
                report.trouble = Some(output::plain(&format!("{error:#}")));
                return Ok(report);
            }
        };
        let (token, digest) = position(cluster, url).await?;
        fill(&mut report, &said, token);
        let same = (said.volume.epoch, said.volume.seq) == (token.epoch.0.into(), token.seq.0);
        if same {
            report.digests_agree = Some(said.volume.digest == digest);
            return Ok(report);
        }
        if !said.mirror.following {
            return Ok(report);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(report)
}

fn fill(report: &mut MirrorReport, said: &Said, origin: Token) {
    report.state = output::plain(&said.mirror.state);
    report.watermark = Some(said.volume.seq);
    report.data_watermark = Some(said.volume.seq);
    report.lag_ms = said.mirror.lag_ms;
    report.lag_records = Some(origin.seq.0.saturating_sub(said.volume.seq));
    let trouble = output::plain(&said.mirror.trouble);
    report.trouble = Some(trouble).filter(|words| !words.is_empty());
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} is at change {}:{}, digest {}\n",
        report.volume, report.epoch, report.seq, report.digest
    );
    if report.mirrors.is_empty() {
        text.push_str("it has no mirrors; `curlew mirror add` makes one\n");
        return text;
    }
    let unknown = || "-".to_owned();
    let number = |value: Option<u64>| value.map_or_else(unknown, |value| value.to_string());
    let rows = report.mirrors.iter().map(|mirror| {
        let digests = match mirror.digests_agree {
            Some(true) => "agree",
            Some(false) => "DIFFER",
            None => "-",
        };
        vec![
            mirror.name.clone(),
            mirror.state.clone(),
            number(mirror.watermark),
            number(mirror.lag_records),
            number(mirror.lag_ms),
            digests.to_owned(),
            mirror.url.clone(),
        ]
    });
    let header = [
        "MIRROR", "STATE", "CHANGE", "BEHIND", "LAG ms", "DIGESTS", "URL",
    ];
    text.push_str(&output::table(&header, &rows.collect::<Vec<_>>()));
    text
}

/// What is wrong with a mirror, if anything is.
fn wrong(mirror: &MirrorReport) -> Option<String> {
    let name = &mirror.name;
    if mirror.digests_agree == Some(false) {
        return Some(format!(
            "mirror {name} differs from its origin: do not read from it; make it anew"
        ));
    }
    if let Some(trouble) = &mirror.trouble {
        return Some(format!("mirror {name}: {trouble}"));
    }
    (mirror.state != "following").then(|| format!("mirror {name} is {}", mirror.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_mirror_status_json_is_frozen() {
        let report = Report {
            volume: "v".into(),
            role: "origin",
            epoch: 0,
            seq: 41,
            digest: "00ff".into(),
            mirrors: vec![MirrorReport {
                name: "near".into(),
                url: "curlew://h:1/v".into(),
                state: "following".into(),
                watermark: Some(40),
                data_watermark: Some(40),
                lag_ms: Some(3),
                lag_records: Some(1),
                ..MirrorReport::default()
            }],
        };
        assert_eq!(
            serde_json::to_string(&report).expect("JSON"),
            "{\"volume\":\"v\",\"role\":\"origin\",\"epoch\":0,\"seq\":41,\"digest\":\"00ff\",\
             \"mirrors\":[{\"name\":\"near\",\"url\":\"curlew://h:1/v\",\"state\":\"following\",\
             \"watermark\":40,\"data_watermark\":40,\"lag_ms\":3,\"lag_records\":1,\
             \"digests_agree\":null,\"trouble\":null}]}"
        );
    }

    #[test]
    fn a_mirror_that_does_not_follow_is_wrong() {
        let mirror = |state: &str, agree| MirrorReport {
            state: state.into(),
            digests_agree: agree,
            ..MirrorReport::default()
        };
        assert_eq!(wrong(&mirror("following", None)), None);
        assert_eq!(wrong(&mirror("following", Some(true))), None);
        assert!(wrong(&mirror("following", Some(false))).is_some());
        assert!(wrong(&mirror("stopped: gap", None)).is_some());
    }
}
