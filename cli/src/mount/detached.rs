//! A mount in a process of its own.

use super::args::MountArgs;
use super::umount::{Detach, detach};
use crate::detach::{Detached, Job, own_program};
use crate::process::ProcessId;
use crate::{mount_table, patience};
use anyhow::{Context, Result, bail};
use fs_client::mount::MOUNT_WITHIN;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount may take to answer. Longer than the mount itself waits, so that it is the one
/// who gives up: it says why, and leaves nothing behind.
const ANSWER_LIMIT: Duration = MOUNT_WITHIN.saturating_add(Duration::from_secs(20));
/// How long one look at the mount may take.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How long a mount that has not answered may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long its mount point may take to be freed after that.
const DETACH_LIMIT: Duration = Duration::from_secs(5);

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
            end(&process, &args.point, before).await?;
            bail!(
                "{} has not answered within {} s, so its process was ended; its log is {}",
                args.point.display(),
                ANSWER_LIMIT.as_secs(),
                log.display()
            )
        }
    }
}

/// Ends a mount that has not answered, and what it may have left: a process that had to be killed
/// leaves its mount behind, dead.
async fn end(process: &Detached, point: &Path, before: Option<u64>) -> Result<()> {
    if let Some(child) = ProcessId::of(process.pid())? {
        child.terminate(END_LIMIT).await?;
    }
    let left = mount_table::at(point)?.filter(|entry| entry.is_curlew());
    if left.is_none_or(|entry| Some(entry.id) == before) {
        return Ok(());
    }
    let at = point.to_owned();
    patience::bounded(DETACH_LIMIT, move || detach(&at, Detach::Force)).with_context(|| {
        format!(
            "its dead mount is left; `curlew umount --force {}` removes it",
            point.display()
        )
    })?
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
