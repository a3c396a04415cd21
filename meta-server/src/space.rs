//! Free space of every voter, and what may still be taken in when it runs short.
//!
//! Every command costs space on every voter. Below the reserve of any of them, the leader refuses
//! commands that grow the store, and goes on with those that give space back, so that a full disk
//! never stops the deletion that would empty it.

use crate::failure::{Failure, FailureKind};
use meta_core::command::{Command, CommandBody, MirrorStep, Operation};
use parking_lot::Mutex;
use raft_store::NodeId;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the disk.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A peer's report older than this is forgotten: it is down, and cannot run full.
const REPORT_AGE_MAX: Duration = Duration::from_secs(10);

/// Tells how much may still be written where the node keeps its data.
pub trait FreeSpace: Send + Sync + Debug {
    /// Free bytes.
    ///
    /// # Errors
    /// What the system says when it cannot tell.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The free space of the file system that holds a directory.
#[derive(Clone, Debug)]
pub struct DiskSpace {
    dir: PathBuf,
}

impl DiskSpace {
    /// Of the file system that holds `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

impl FreeSpace for DiskSpace {
    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

#[derive(Clone, Copy, Debug)]
struct Report {
    taken: Instant,
    free_bytes: u64,
    below_reserve: bool,
}

/// What this node and its peers have left.
#[derive(Debug)]
pub(crate) struct SpaceWatch {
    source: Box<dyn FreeSpace>,
    reserve_bytes: u64,
    free_bytes: AtomicU64,
    reports: Mutex<BTreeMap<NodeId, Report>>,
}

impl SpaceWatch {
    /// Looks once, so that the first decision is not a guess.
    pub(crate) fn new(source: Box<dyn FreeSpace>, reserve_bytes: u64) -> io::Result<Self> {
        let free_bytes = AtomicU64::new(source.free_bytes()?);
        Ok(Self {
            source,
            reserve_bytes,
            free_bytes,
            reports: Mutex::default(),
        })
    }

    /// Looks again. The system calls behind it can wait for a disk.
    pub(crate) fn look(&self) {
        let was_below = self.below_reserve();
        match self.source.free_bytes() {
            Ok(free) => self.free_bytes.store(free, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "cannot tell the free space; the last reading stays");
                return;
            }
        }
        match (was_below, self.below_reserve()) {
            (false, true) => tracing::warn!(
                free_bytes = self.free_bytes(),
                reserve_bytes = self.reserve_bytes,
                "free space is below the reserve: commands that grow the store are refused"
            ),
            (true, false) => {
                tracing::info!(
                    free_bytes = self.free_bytes(),
                    "free space is above the reserve"
                );
            }
            _ => {}
        }
    }

    /// Free bytes here.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// The configured reserve.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    /// Whether this node has less than its reserve.
    pub(crate) fn below_reserve(&self) -> bool {
        self.free_bytes() < self.reserve_bytes
    }

    /// Takes in what a peer says of itself.
    pub(crate) fn report(&self, peer: NodeId, free_bytes: u64, below_reserve: bool) {
        let report = Report {
            taken: Instant::now(),
            free_bytes,
            below_reserve,
        };
        self.reports.lock().insert(peer, report);
    }

    /// Refuses a command that grows the store while a voter is short.
    pub(crate) fn admit(&self, command: &Command) -> Result<(), Failure> {
        self.admit_at(Instant::now(), command)
    }

    fn admit_at(&self, now: Instant, command: &Command) -> Result<(), Failure> {
        if !grows(&command.body) {
            return Ok(());
        }
        if self.below_reserve() {
            return Err(short(None, self.free_bytes()));
        }
        let reports = self.reports.lock();
        let age = |report: &Report| now.saturating_duration_since(report.taken);
        let fresh = reports
            .iter()
            .filter(|(_, report)| age(report) <= REPORT_AGE_MAX);
        match fresh
            .filter(|(_, r)| r.below_reserve)
            .min_by_key(|(_, r)| r.free_bytes)
        {
            Some((peer, report)) => Err(short(Some(*peer), report.free_bytes)),
            None => Ok(()),
        }
    }
}

fn short(peer: Option<NodeId>, free_bytes: u64) -> Failure {
    let who = peer.map_or_else(|| "the leader".to_owned(), |peer| format!("node {peer}"));
    let message = format!(
        "{who} has {free_bytes} bytes left, which is below its reserve; delete files, or give the \
         metadata nodes more space"
    );
    Failure::new(FailureKind::NoSpace, message)
}

/// Whether a command leaves more rows than it found. A rename counts: it leaves no fewer, and the
/// reserve is for what gives space back.
fn grows(body: &CommandBody) -> bool {
    match body {
        CommandBody::CreateVolume(_)
        | CommandBody::NoteFollower { .. }
        | CommandBody::CreateMirror(_)
        | CommandBody::BeginRestore(_)
        | CommandBody::RestoreRows(_)
        // It goes on when there is room again, or is given up.
        | CommandBody::CloneStep { copies: true, .. }
        | CommandBody::Mirror(MirrorStep::Load(_) | MirrorStep::Apply(_)) => true,
        CommandBody::Request(request) => match &request.operation {
            Operation::Create(_)
            | Operation::Link { .. }
            | Operation::Rename { .. }
            // What it takes out of the trash, no purge gives back.
            | Operation::Restore { .. }
            | Operation::Commit(_)
            | Operation::Append(_)
            | Operation::CopyRange(_)
            | Operation::Clone(_)
            | Operation::SetXattr { .. }
            | Operation::GrantSlices { .. } => true,
            // SetAttr rewrites one row, and a truncation adds one that trimming takes away: it is
            // how space comes back.
            Operation::Unlink { .. }
            | Operation::Rmdir { .. }
            // What a removal adds to the trash is bounded by what there was, and goes by itself.
            | Operation::RemoveEntries { .. }
            | Operation::EmptyTrash { .. }
            | Operation::SetAttr(_)
            // So is a hole: it adds at most a row for each chunk that it lies in.
            | Operation::Fallocate(_)
            // There are fewer rows after it.
            | Operation::Compact(_)
            | Operation::CancelClone { .. }
            // It rewrites rows.
            | Operation::Accessed { .. }
            | Operation::RemoveXattr { .. }
            // Two rows at most for a volume.
            | Operation::ClaimTask { .. }
            | Operation::ReleaseTask { .. }
            | Operation::FinishBackup(_)
            // Bounded, and who cannot lock cannot tidy up either.
            | Operation::Lock(_)
            | Operation::Unlock(_)
            | Operation::CancelLock { .. } => false,
        },
        // Bounded, and without a session nobody could delete.
        CommandBody::OpenSession { .. }
        | CommandBody::InitCluster { .. }
        | CommandBody::CloseSession { .. }
        | CommandBody::ExpireSessions { .. }
        | CommandBody::CloneStep { copies: false, .. }
        | CommandBody::Reap { .. }
        | CommandBody::ReapFiles { .. }
        | CommandBody::PurgeTrash { .. }
        // A few rows.
        | CommandBody::SetOptions { .. }
        | CommandBody::SetQuota { .. }
        // A row for each directory that has something in it, once in a volume's life.
        | CommandBody::CountFiles { .. }
        | CommandBody::Trim { .. }
        | CommandBody::TrimChangelog { .. }
        | CommandBody::RaiseLevel { .. }
        | CommandBody::Mark
        | CommandBody::EndRestore { .. }
        | CommandBody::Recovered
        | CommandBody::Mirror(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::Timestamp;
    use meta_core::command::CreateVolume;
    use meta_core::ids::{Ino, Level, SessionId, Uuid, VolumeId};
    use std::sync::Arc;

    #[derive(Clone, Debug)]
    struct Dial(Arc<AtomicU64>);

    impl FreeSpace for Dial {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.load(Ordering::Relaxed))
        }
    }

    fn command(body: CommandBody) -> Command {
        Command {
            volume: VolumeId(1),
            stamp: Timestamp::default(),
            read_level: Level(0),
            body,
        }
    }

    fn growing() -> Command {
        command(CommandBody::CreateVolume(CreateVolume {
            name: String::from("v"),
            uuid: Uuid([1; 16]),
            block_bytes: 1 << 22,
            storage: Vec::new(),
        }))
    }

    #[test]
    fn below_the_reserve_only_growth_is_refused_and_it_comes_back() {
        let dial = Dial(Arc::new(AtomicU64::new(50)));
        let watch = SpaceWatch::new(Box::new(dial.clone()), 100).unwrap();
        let open = command(CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        });
        let grow = growing();
        let close = command(CommandBody::CloseSession {
            session: SessionId(1),
        });
        let reap = command(CommandBody::Reap {
            ino: Ino(9),
            rows_max: 1,
        });
        assert_eq!(watch.admit(&grow).unwrap_err().kind, FailureKind::NoSpace);
        // Whoever comes to delete needs a session.
        watch.admit(&open).unwrap();
        watch.admit(&close).unwrap();
        watch.admit(&reap).unwrap();
        dial.0.store(100, Ordering::Relaxed);
        watch.look();
        watch.admit(&grow).unwrap();
    }

    #[test]
    fn the_shortest_peer_counts_while_it_is_heard() {
        let dial = Dial(Arc::new(AtomicU64::new(1000)));
        let watch = SpaceWatch::new(Box::new(dial), 100).unwrap();
        let grow = growing();
        watch.report(2, 7, true);
        let refused = watch.admit(&grow).unwrap_err();
        assert!(
            refused.message.contains("node 2 has 7 bytes left"),
            "{}",
            refused.message
        );
        watch
            .admit_at(Instant::now() + Duration::from_secs(11), &grow)
            .unwrap();
        watch.report(2, 7, true);
        watch.report(2, 500, false);
        watch.admit(&grow).unwrap();
    }

    #[test]
    fn the_disk_tells_its_free_space() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DiskSpace::new(dir.path()).free_bytes().unwrap() > 0);
        assert!(DiskSpace::new("/nowhere/at/all").free_bytes().is_err());
    }
}
