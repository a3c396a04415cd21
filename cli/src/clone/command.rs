//! Runs `curlew clone`.

use super::args::CloneArgs;
use super::place::{Asked, is_url};
use crate::caller::caller;
use crate::exit::{Finding, Usage};
use crate::progress::Progress;
use crate::{output, target};
use anyhow::{Context, Result, anyhow, bail};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use meta_core::command::{CloneTree, Operation};
use meta_core::ids::Ino;
use meta_core::limits::MAINTENANCE_ROWS_MAX;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, CloneStatus, QueryBody};
use meta_core::row::CloneState;
use std::time::Duration;

/// How long the cluster may take for one request, elections included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);
/// Between two questions how far it is, at first and at most.
const ASK_AFTER: Duration = Duration::from_millis(20);
const ASK_AFTER_MAX: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(args: CloneArgs) -> Result<Finding> {
    if args.list || args.cancel.is_some() {
        return watch(&args).await;
    }
    let asked = Asked::find(&args)?;
    let progress = Progress::new();
    progress.step("connecting");
    let session = connect(&asked.url).await?;
    let copied = copy(&session, &args, &asked, &progress).await;
    session.close().await;
    drop(progress);
    let (job, files) = copied?;
    if args.json {
        output::json(&serde_json::json!({ "clone": job.0, "files": files }))?;
    } else {
        output::text_out(&format!("{files} files were cloned\n"))?;
    }
    Ok(Finding::Fine)
}

async fn connect(url: &MetaUrl) -> Result<MetaSession> {
    let options = SessionOptions {
        slots: 1,
        queries: 1,
        retry_for: Some(CLUSTER_LIMIT),
        ..SessionOptions::default()
    };
    Ok(MetaSession::open(url, options).await?)
}

/// The copy's number, and how many files it has.
async fn copy(
    session: &MetaSession,
    args: &CloneArgs,
    asked: &Asked,
    progress: &Progress,
) -> Result<(Ino, u64)> {
    let (parent, name) = asked.target(session).await?;
    let tree = CloneTree {
        source: asked.source(session).await?,
        parent,
        name,
        preserve: args.preserve,
        umask: umask()?,
        rows_max: MAINTENANCE_ROWS_MAX,
    };
    let begun = session
        .execute(asked.caller.clone(), Operation::Clone(tree))
        .await;
    let job = match begun {
        Ok(Success::Cloning { job, .. }) => job,
        Ok(_) => bail!("the cluster answered another question"),
        Err(ClientError::Refused(refusal)) => return Err(refused(refusal)),
        Err(error) => return Err(error).context("whether it was begun is told by --list"),
    };
    let mut pause = ASK_AFTER;
    loop {
        let status = status(session, &asked.caller, job).await?;
        let status = status.with_context(|| format!("nothing is known of copy {job} any more"))?;
        match status.state {
            CloneState::Attached => return Ok((job, status.files)),
            CloneState::Failed(refusal) => return Err(refused(refusal)),
            CloneState::Copying => progress.step(&format!("{} files", status.files)),
            CloneState::Again => {
                progress.step("a directory was moved in the source: copying begins again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(ASK_AFTER_MAX);
    }
}

async fn clones(session: &MetaSession, caller: &Caller) -> Result<Vec<CloneStatus>> {
    match session.query(caller.clone(), QueryBody::Clones).await? {
        Answer::Clones(clones) => Ok(clones),
        _ => bail!("the cluster answered another question"),
    }
}

async fn status(session: &MetaSession, caller: &Caller, job: Ino) -> Result<Option<CloneStatus>> {
    let clones = clones(session, caller).await?;
    Ok(clones.into_iter().find(|status| status.job == job))
}

/// Permission bits that new files do not get.
fn umask() -> Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("cannot read the umask in /proc/self/status")?;
    let word = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let word = word.context("/proc/self/status tells no umask: mount /proc")?;
    u32::from_str_radix(word.trim(), 8).context("the umask in /proc/self/status is no number")
}

fn refused(refusal: Refusal) -> anyhow::Error {
    let advice = match refusal {
        Refusal::AccessDenied => {
            "you may not read all of the source, or not write where the copy is to be"
        }
        Refusal::NotPermitted => {
            "what belongs to others keeps its owner only if root copies it, and so do devices: leave -p out, \
             or run this as root"
        }
        Refusal::InvalidArgument => "a directory cannot be copied into itself",
        Refusal::NotSupported => {
            "the volume's level is too low for this: see \"Upgrades\" in docs/SEMANTICS.md"
        }
        Refusal::Busy => "try again when less is changed in the source",
        Refusal::NotFound | Refusal::Stale => {
            return anyhow!(Refusal::NotFound)
                .context("the source, or the directory that the copy was to be in, is gone");
        }
        refusal => return refusal.into(),
    };
    anyhow::Error::new(refusal).context(advice)
}

/// Lists copies, or gives one up.
async fn watch(args: &CloneArgs) -> Result<Finding> {
    let url = match &args.places[..] {
        [url] if is_url(url) => target::resolve(&url.to_string_lossy())?,
        _ => return Err(Usage::error("--list and --cancel take a META-URL alone")),
    };
    let session = connect(&url).await?;
    let done = match args.cancel {
        Some(job) => cancel(&session, Ino(job)).await,
        None => list(&session, args.json).await,
    };
    session.close().await;
    done
}

async fn cancel(session: &MetaSession, job: Ino) -> Result<Finding> {
    match session
        .execute(caller(), Operation::CancelClone { job })
        .await
    {
        Ok(_) => Ok(Finding::Fine),
        Err(ClientError::Refused(Refusal::NotFound)) => {
            bail!("no copy {job} is being made: --list tells which are")
        }
        Err(ClientError::Refused(Refusal::NotPermitted)) => {
            bail!("only root and who began copy {job} may give it up")
        }
        Err(error) => Err(error.into()),
    }
}

async fn list(session: &MetaSession, json: bool) -> Result<Finding> {
    let clones = clones(session, &caller()).await?;
    let words = |state: CloneState| match state {
        CloneState::Copying => "copying".to_owned(),
        CloneState::Again => "begins again".to_owned(),
        CloneState::Attached => "done".to_owned(),
        CloneState::Failed(refusal) => format!("failed: {refusal}"),
    };
    if json {
        let rows: Vec<_> = clones
            .iter()
            .map(|status| {
                serde_json::json!({
                    "clone": status.job.0,
                    "state": words(status.state),
                    "name": status.name.to_string(),
                    "files": status.files,
                    "uid": status.uid,
                })
            })
            .collect();
        output::json(&rows)?;
        return Ok(Finding::Fine);
    }
    let rows: Vec<Vec<String>> = clones
        .iter()
        .map(|status| {
            vec![
                status.job.to_string(),
                status.name.to_string(),
                status.files.to_string(),
                status.uid.to_string(),
                words(status.state),
            ]
        })
        .collect();
    let header = ["NUMBER", "NAME", "FILES", "USER", "STATE"];
    output::text_out(&output::table(&header, &rows))?;
    Ok(Finding::Fine)
}
