//! Stopping a playground. Safe to repeat, and after any crash: it ends what the records name and
//! nothing else, and keeps the data.

use super::layout::{Layout, MountLayout};
use super::lock::Lock;
use super::plan::Plan;
use super::record;
use crate::atomic_file;
use crate::mount::Detach;
use crate::mount_table;
use crate::patience;
use crate::process::{Ending, ProcessId};
use crate::progress::Progress;
use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the mount may take to write out what it holds.
const MOUNT_LIMIT: Duration = Duration::from_secs(20);
/// How long a node may take to hand its leadership over and end.
const NODE_LIMIT: Duration = Duration::from_secs(15);

/// Ends everything that runs; whether anything did.
pub(super) async fn stop(layout: &Layout, progress: &Progress) -> Result<bool> {
    let _lock = Lock::take(layout).await?;
    end_all(layout, progress).await
}

/// [`stop`] for a caller that has the lock.
pub(super) async fn end_all(layout: &Layout, progress: &Progress) -> Result<bool> {
    let mut mount_ended = false;
    // The mirror's mount first: its writes go through the origin as well, but nobody reads behind it.
    for mount in layout.mounts().iter().rev() {
        mount_ended |= end_mount(mount, progress).await?;
    }
    let nodes_ended = end_nodes(layout, progress).await?;
    atomic_file::remove(&layout.state_file())?;
    Ok(mount_ended || nodes_ended)
}

async fn end_mount(mount: &MountLayout, progress: &Progress) -> Result<bool> {
    let point = &mount.point;
    let is_mounted = mount_table::at(point)?.is_some_and(|entry| entry.is_curlew());
    if is_mounted {
        progress.step(&format!("unmounting {}", point.display()));
        unmount(point, progress)?;
    }
    let record = &mount.record;
    let Some(process) = record::alive(record)? else {
        atomic_file::remove(record)?;
        return Ok(is_mounted);
    };
    // Unmounted, it writes out what it holds and ends by itself.
    if !(is_mounted && process.wait_gone(MOUNT_LIMIT).await) {
        tell(
            progress,
            "the mount",
            &process,
            process.terminate(MOUNT_LIMIT).await?,
        );
    }
    if mount_table::at(point)?.is_some_and(|entry| entry.is_curlew()) {
        unmount(point, progress)?;
    }
    atomic_file::remove(record)?;
    Ok(true)
}

/// Takes the mount away even if somebody works in it: they keep what they have open until the
/// mount's process ends.
fn unmount(point: &Path, progress: &Progress) -> Result<()> {
    let at = point.to_owned();
    let first = patience::bounded(MOUNT_LIMIT, move || {
        crate::mount::detach(&at, Detach::Clean)
    });
    let Some(Err(why)) = first else {
        return first
            .context("unmounting takes too long")
            .and_then(|done| done);
    };
    progress.note(&format!("{why:#}; taking the mount away all the same"));
    let at = point.to_owned();
    patience::bounded(MOUNT_LIMIT, move || crate::mount::detach(&at, Detach::Lazy))
        .context("unmounting takes too long")?
}

async fn end_nodes(layout: &Layout, progress: &Progress) -> Result<bool> {
    let mut ending = JoinSet::new();
    for node in Plan::load(layout)?.iter().flat_map(Plan::all_nodes) {
        let record = layout.node(node.id).record();
        let process = record::alive(&record)?;
        let id = node.id;
        ending.spawn(async move {
            let done = match &process {
                Some(process) => Some(process.terminate(NODE_LIMIT).await?),
                None => None,
            };
            atomic_file::remove(&record)?;
            Ok::<_, anyhow::Error>((id, process.zip(done)))
        });
    }
    if !ending.is_empty() {
        progress.step("ending the metadata nodes");
    }
    let mut was_any = false;
    let mut failed = Vec::new();
    while let Some(ended) = ending.join_next().await {
        match ended.context("ending a node was cut short")? {
            Ok((_id, None)) => {}
            Ok((id, Some((process, how)))) => {
                was_any = true;
                tell(progress, &format!("node {id}"), &process, how);
            }
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() {
        Ok(was_any)
    } else {
        Err(anyhow!("{}", failed.join("; ")))
    }
}

fn tell(progress: &Progress, who: &str, process: &ProcessId, how: Ending) {
    if how == Ending::Killed {
        let pid = process.pid();
        progress.note(&format!(
            "{who} (process {pid}) did not end in time and was killed"
        ));
    }
}
