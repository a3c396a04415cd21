//! Stopping a playground. Safe to repeat, and after any crash: it ends what the records name and
//! nothing else, and keeps the data.

use super::layout::Layout;
use super::lock::Lock;
use super::plan::Plan;
use super::record;
use crate::atomic_file;
use crate::mount::{Detach, Server};
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

/// [`stop`] for a caller that has the lock. Whatever fails, all the rest is ended, and what failed
/// is told at the end.
pub(super) async fn end_all(layout: &Layout, progress: &Progress) -> Result<bool> {
    end_all_with(&Kernel::REAL, layout, progress).await
}

async fn end_all_with(kernel: &Kernel, layout: &Layout, progress: &Progress) -> Result<bool> {
    let mut troubles = Troubles::default();
    let mount_ended = end_mount(kernel, layout, progress, &mut troubles).await;
    let nodes_ended = troubles.note(end_nodes(layout, progress).await);
    troubles.note(atomic_file::remove(&layout.state_file()));
    troubles.into_result()?;
    Ok(mount_ended || nodes_ended.unwrap_or(true))
}

/// What failed on the way to an end that must be reached all the same.
#[derive(Debug, Default)]
struct Troubles(Vec<String>);

impl Troubles {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| self.0.push(format!("{error:#}")))
            .ok()
    }

    fn into_result(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(anyhow!("{}", self.0.join("; ")))
        }
    }
}

/// What the kernel is asked for about mounts. Tests put others in the place of the real ones.
#[derive(Debug)]
struct Kernel {
    is_mounted: fn(&Path) -> Result<bool>,
    detach: fn(&Path, Detach) -> Result<()>,
}

impl Kernel {
    const REAL: Self = Self {
        is_mounted: |point| Ok(mount_table::at(point)?.is_some_and(|entry| entry.is_curlew())),
        detach: crate::mount::detach,
    };

    /// Takes the mount away even if somebody works in it: they keep what they have open until the
    /// mount's process ends.
    fn unmount(&self, point: &Path, progress: &Progress) -> Result<()> {
        match self.detach_in_time(point, Detach::Clean) {
            Ok(()) => Ok(()),
            Err(why) => {
                progress.note(&format!("{why:#}; taking the mount away all the same"));
                self.detach_in_time(point, Detach::Lazy)
            }
        }
    }

    fn detach_in_time(&self, point: &Path, how: Detach) -> Result<()> {
        let (at, detach) = (point.to_owned(), self.detach);
        patience::bounded(MOUNT_LIMIT, move || detach(&at, how))
            .with_context(|| format!("unmounting {} takes too long", point.display()))?
    }
}

/// Whether there was a mount, or its process.
async fn end_mount(
    kernel: &Kernel,
    layout: &Layout,
    progress: &Progress,
    troubles: &mut Troubles,
) -> bool {
    let point = layout.mount();
    let was_mounted = troubles.note((kernel.is_mounted)(&point)).unwrap_or(false);
    // What the process says of its end; asked for while the mount still tells where.
    let server = was_mounted.then(|| Server::of(&point));
    let mut is_unmounted = false;
    if was_mounted {
        progress.step(&format!("unmounting {}", point.display()));
        match kernel.unmount(&point, progress) {
            Ok(()) => is_unmounted = true,
            // Told if it fails again without the process.
            Err(why) => progress.note(&format!("{why:#}; ending the mount's process")),
        }
    }
    let had_process = match troubles.note(record::alive(&layout.mount_record())) {
        Some(Some(process)) => {
            troubles.note(end_mount_process(&process, is_unmounted, progress).await);
            true
        }
        Some(None) | None => false,
    };
    match server {
        None => {}
        Some(Ok(server)) => {
            troubles.note(server.stored().context("the mount did not end well"));
        }
        // Its process had ended before, or hung: a stop after a crash is none that failed.
        Some(Err(why)) => progress.note(&format!("how the mount ended is not known: {why:#}")),
    }
    if troubles.note((kernel.is_mounted)(&point)) == Some(true) {
        troubles.note(kernel.unmount(&point, progress));
    }
    if troubles.note(record::alive(&layout.mount_record())) == Some(None) {
        troubles.note(atomic_file::remove(&layout.mount_record()));
    }
    was_mounted || had_process
}

/// Unmounted, the process writes out what it holds and ends by itself. If it does not, it is told
/// to, and the user hears of it.
async fn end_mount_process(
    process: &ProcessId,
    is_unmounted: bool,
    progress: &Progress,
) -> Result<()> {
    if is_unmounted {
        if process.wait_gone(MOUNT_LIMIT).await {
            return Ok(());
        }
        progress.note(&format!(
            "the mount is unmounted, but its process {} has not ended for {} s: it is storing \
             what was written, or somebody still uses a file; ending it",
            process.pid(),
            MOUNT_LIMIT.as_secs()
        ));
    }
    match process.terminate(MOUNT_LIMIT).await? {
        Ending::WasGone | Ending::Clean => Ok(()),
        Ending::Killed => Err(anyhow!(
            "the mount (process {}) did not end in time and was killed: what it had not stored \
             is lost",
            process.pid()
        )),
    }
}

async fn end_nodes(layout: &Layout, progress: &Progress) -> Result<bool> {
    let mut ending = JoinSet::new();
    for node in Plan::load(layout)?.iter().flat_map(|plan| &plan.nodes) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper(record: &Path) -> Child {
        let child = Command::new("sleep").arg("600").spawn().expect("a process");
        let id = ProcessId::of(child.id()).expect("/proc").expect("it runs");
        std::fs::create_dir_all(record.parent().expect("a parent")).expect("a directory");
        atomic_file::write_json(record, &id).expect("a record");
        child
    }

    #[tokio::test]
    async fn everything_is_ended_although_the_unmount_fails() {
        let stuck = Kernel {
            is_mounted: |_point| Ok(true),
            detach: |_point, how| Err(anyhow!("told to fail ({how:?})")),
        };
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        std::fs::create_dir_all(layout.inside()).expect("a directory");
        let plan = Plan::prepare(&layout, Some(1)).expect("a plan");
        let mount_record = layout.mount_record();
        let node_record = layout.node(plan.nodes[0].id).record();
        let mut processes = [sleeper(&mount_record), sleeper(&node_record)];
        let ended = end_all_with(&stuck, &layout, &Progress::new()).await;
        for process in &mut processes {
            // They were told to end, and so they do.
            process.wait().expect("an ended process");
        }
        assert!(!mount_record.exists() && !node_record.exists());
        let error = ended.expect_err("it is still mounted").to_string();
        assert!(error.contains("told to fail (Lazy)"), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_ends_when_told_is_no_trouble() {
        let free = Kernel {
            is_mounted: |_point| Ok(false),
            detach: |_point, _how| Err(anyhow!("nothing is mounted")),
        };
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        let mut process = sleeper(&layout.mount_record());
        let ended = end_all_with(&free, &layout, &Progress::new()).await;
        assert!(ended.expect("all is ended"));
        process.wait().expect("an ended process");
        let again = end_all_with(&free, &layout, &Progress::new()).await;
        assert!(!again.expect("nothing runs"));
    }
}
