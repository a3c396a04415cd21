//! `curlew mirror status`.

use super::sides::{self, Known, Said};
use crate::exit::Finding;
use crate::{output, target};
use anyhow::{Context, Result, anyhow};
use meta_client::{Cluster, MetaUrl, MirrorInfo};
use meta_core::ids::Seq;
use meta_core::outcome::Token;
use serde::Serialize;
use std::time::Duration;

/// How long the origin may take to answer.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);
/// Looks at both sides until they are seen at the same change.
const LOOKS: usize = 20;
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Show a volume's mirrors: how far each is, and whether it agrees with the origin
///
/// Asked of a mirror it shows that one, also while its origin does not answer.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The origin or a mirror: its META-URL, or a directory on a mount of it
    #[arg(value_name = "META-URL|MOUNTPOINT")]
    target: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    volume: String,
    /// Of the volume that was asked.
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
    /// As the mirror says, or `unreachable`, or `no leader`.
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
    let report = match sides::ask(&url).await {
        Ok(said) => of_mirror(&url, said).await?,
        Err(_no_mirror_or_no_answer) => of_origin(&url).await?,
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

async fn of_origin(url: &MetaUrl) -> Result<Report> {
    let hint = "the origin does not answer; `curlew mirror status MIRROR-URL` shows a mirror alone";
    let origin = Origin::connect(url).await.context(hint)?;
    let known = sides::known(&origin.cluster, url).await.context(hint)?;
    let mut mirrors = Vec::new();
    for known in known {
        mirrors.push(look(&origin, known).await.context(hint)?);
    }
    let (token, digest) = origin.position().await.context(hint)?;
    Ok(Report {
        volume: url.volume.clone(),
        role: "origin",
        epoch: token.epoch.0,
        seq: token.seq.0,
        digest,
        mirrors,
    })
}

/// A mirror that was asked itself. Its origin is asked too, and need not answer.
async fn of_mirror(url: &MetaUrl, said: Said) -> Result<Report> {
    let info: MirrorInfo = serde_json::from_slice(&said.mirror.info)
        .context("what the mirror stores of its origin cannot be read")?;
    let known = Known {
        name: info.name,
        url: Ok(url.clone()),
    };
    let looked = async {
        let origin = info.origin.parse::<MetaUrl>();
        let origin = origin.map_err(|error| anyhow!("{error}"))?;
        look(&Origin::connect(&origin).await?, known.clone()).await
    };
    let mirror = match looked.await {
        Ok(mirror) => mirror,
        Err(error) => alone(&known.name, url, &said, &error),
    };
    Ok(Report {
        volume: url.volume.clone(),
        role: "mirror",
        epoch: u16::try_from(said.volume.epoch).context("the mirror's epoch is too large")?,
        seq: said.volume.seq,
        digest: output::plain(&said.volume.digest),
        mirrors: vec![mirror],
    })
}

/// A mirror whose origin does not answer, as it knows itself.
fn alone(name: &str, url: &MetaUrl, said: &Said, why: &anyhow::Error) -> MirrorReport {
    let mut report = MirrorReport {
        name: output::plain(name),
        url: url.to_string(),
        ..MirrorReport::default()
    };
    fill(&mut report, said, said.mirror.origin_seq.map(Seq));
    let why = output::plain(&format!("{why:#}"));
    report.trouble.get_or_insert(format!("its origin: {why}"));
    report
}

/// The side that all others are measured by.
#[derive(Debug)]
struct Origin {
    cluster: Cluster,
    url: MetaUrl,
}

impl Origin {
    async fn connect(url: &MetaUrl) -> Result<Self> {
        Ok(Self {
            cluster: Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?,
            url: url.clone(),
        })
    }

    async fn position(&self) -> Result<(Token, String)> {
        let name = &self.url.volume;
        let info = self.cluster.find_volume(name).await;
        let info = info.with_context(|| format!("volume `{name}`"))?;
        let stat = self.cluster.reach(info.id, Token::default()).await?;
        Ok((stat.token, stat.digest))
    }
}

/// Looks at the mirror and then at the origin, until both are at one change.
async fn look(origin: &Origin, known: Known) -> Result<MirrorReport> {
    let mut report = MirrorReport {
        name: output::plain(&known.name),
        ..MirrorReport::default()
    };
    let unreachable = |mut report: MirrorReport, why: &str| {
        "unreachable".clone_into(&mut report.state);
        report.trouble = Some(output::plain(why));
        Ok(report)
    };
    let url = match known.url {
        Ok(url) => url,
        Err(why) => return unreachable(report, &why),
    };
    report.url = url.to_string();
    for _look in 0..LOOKS {
        let said = match sides::ask(&url).await {
            Ok(said) => said,
            Err(error) => return unreachable(report, &format!("{error:#}")),
        };
        let (token, digest) = origin.position().await?;
        fill(&mut report, &said, Some(token.seq));
        let same = (said.volume.epoch, said.volume.seq) == (token.epoch.0.into(), token.seq.0);
        if same {
            report.digests_agree = Some(said.volume.digest == digest);
            return Ok(report);
        }
        if !said.mirror.following || !said.leads {
            return Ok(report);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(report)
}

fn fill(report: &mut MirrorReport, said: &Said, origin: Option<Seq>) {
    // Without a leader nothing follows, and what is stored does not say so.
    report.state = match said.leads || !said.mirror.following {
        true if said.mirror.stopped => said.stop(),
        true => output::plain(&said.mirror.state),
        false => "no leader".to_owned(),
    };
    report.watermark = Some(said.volume.seq);
    report.data_watermark = Some(said.volume.seq);
    report.lag_ms = said.mirror.lag_ms;
    report.lag_records = origin.map(|origin| origin.0.saturating_sub(said.volume.seq));
    let trouble = output::plain(&said.mirror.trouble);
    report.trouble = Some(trouble).filter(|words| !words.is_empty());
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} ({}) is at change {}:{}, digest {}\n",
        report.volume, report.role, report.epoch, report.seq, report.digest
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
            "mirror {name} differs from its origin: do not read from it; make another with `curlew mirror add`"
        ));
    }
    if let Some(trouble) = &mirror.trouble {
        return Some(format!("mirror {name}: {trouble}"));
    }
    match mirror.state.as_str() {
        "following" => None,
        "no leader" => Some(format!(
            "mirror {name} has no leader: it follows again when more than half of its nodes are \
             up and reach each other"
        )),
        state => Some(format!("mirror {name} is not following: {state}")),
    }
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
        let words = wrong(&mirror("no leader", None)).expect("it is wrong");
        assert!(words.contains("more than half"), "{words}");
    }
}
