//! A mount in a process of its own.

use super::args::MountArgs;
use crate::detach::{Detached, Job, own_program};
use crate::process::ProcessId;
use crate::{mount_table, patience};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount may take to answer: finding the leader may need an election.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long one look at the mount may take.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How long a mount that has not answered may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Starts the mount and returns when it answers; its own error if it ends before.
pub(crate) async fn start_detached(
    args: &MountArgs,
    log: &Path,
    record: Option<PathBuf>,
) -> Result<Detached> {
    let mut args = args.clone();
    args.point = mount_table::normalise(&args.point)?;
    let before = mount_id(&args.point)?;
    let job = Job {
        program: own_program()?,
        args: args.foreground(),
        log: log.to_owned(),
        record,
    };
    let mut process = Detached::start(&job)?;
    let answer = patience::until(ANSWER_LIMIT, || match process.ended() {
        Err(error) => Some(Err(error)),
        Ok(Some(words)) => Some(Ok(Some(words))),
        Ok(None) => answers(&args.point, before).then_some(Ok(None)),
    });
    let answer = answer.await;
    match answer.transpose()? {
        Some(None) => Ok(process),
        Some(Some(words)) => bail!("{words}"),
        None => {
            if let Some(child) = ProcessId::of(process.pid())? {
                child.terminate(END_LIMIT).await?;
            }
            bail!(
                "{} has not answered within {} s, so its process was ended; its log is {}",
                args.point.display(),
                ANSWER_LIMIT.as_secs(),
                log.display()
            )
        }
    }
}

/// Whether a mount that was not there before answers.
fn answers(point: &Path, before: Option<u64>) -> bool {
    let now = mount_id(point).ok().flatten();
    let at = point.to_owned();
    now.is_some()
        && now != before
        && patience::bounded(LOOK_LIMIT, move || std::fs::metadata(at).is_ok()).unwrap_or(false)
}

fn mount_id(point: &Path) -> Result<Option<u64>> {
    let entry = mount_table::at(point).context("cannot see what is mounted")?;
    Ok(entry.map(|entry| entry.id))
}
