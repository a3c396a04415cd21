//! Named places at which a process can be made to end, to see what a crash there leaves behind.
//!
//! Without the feature `failpoints`, which only the tests' own builds have, [`pass`] does nothing.
//! With it, `CURLEW_FAILPOINT=NAME[:COUNT]` ends the process when it passes that place for the
//! COUNT-th time (the first by default): at once, with nothing flushed, as `kill -9` would. What
//! uses them is `jepsen/src/crash_points`.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A node: its data directory bears its number, and holds nothing else yet.
    Claimed = "node.claimed",
    /// A store opens: the log is there, the state not yet.
    LogOpened = "open.log",
    /// A store is made: the state is there, nothing points to it.
    StateMade = "open.state",
    /// A store opens: all of it is there.
    StoreOpened = "open.store",
    /// Before a vote is queued.
    VoteSave = "vote.save",
    /// A vote is durable, and nobody knows.
    VoteSaved = "vote.saved",
    /// Before the committed position is queued.
    CommittedSave = "committed.save",
    /// Before entries are queued.
    Append = "log.append",
    /// Before a round is written.
    LogWrite = "log.write",
    /// A round is durable, the hint beside the log does not say so.
    LogSynced = "log.synced",
    /// A round is durable, and nobody knows.
    LogWritten = "log.written",
    /// Whoever waits for a round is told.
    LogReported = "log.reported",
    /// Before a purge asks for a flush of the state.
    Purge = "purge.begin",
    /// The state is flushed, the log not purged.
    PurgeFlushed = "purge.flushed",
    /// The log is purged.
    Purged = "purge.done",
    /// A batch of committed entries came, none is applied.
    Apply = "state.apply",
    /// Entries are applied, and not written.
    StateWrite = "state.write",
    /// Entries are written, and not answered.
    StateWritten = "state.written",
    /// Entries are answered.
    StateAnswered = "state.answered",
    /// A view of a mark is kept.
    MarkKept = "state.mark",
    /// A file is written beside the one that it will replace.
    FileWritten = "file.written",
    /// A file has replaced another; its directory is not synced.
    FileRenamed = "file.renamed",
    /// A snapshot: the checkpoint is made.
    SnapshotCheckpoint = "snapshot.checkpoint",
    /// A snapshot: the crcs of its files are known.
    SnapshotHashed = "snapshot.hashed",
    /// A snapshot: its manifest is written.
    SnapshotManifest = "snapshot.manifest",
    /// A snapshot has its final name, which is not durable.
    SnapshotRenamed = "snapshot.renamed",
    /// A snapshot is complete.
    SnapshotComplete = "snapshot.complete",
    /// A snapshot arrives: its manifest is there.
    ReceiveManifest = "receive.manifest",
    /// A snapshot arrives: before a piece of a file is written.
    ReceiveWrite = "receive.write",
    /// A snapshot arrives: a file is complete and durable.
    ReceiveFile = "receive.file",
    /// A snapshot has arrived, and has no final name.
    ReceiveFinish = "receive.finish",
    /// A snapshot has arrived and has its final name, which is not durable.
    ReceiveRenamed = "receive.renamed",
    /// A snapshot is installed: its files are verified.
    InstallVerified = "install.verified",
    /// A snapshot is installed: its files are copied.
    InstallCopied = "install.copied",
    /// A snapshot is installed: the copy is open.
    InstallOpened = "install.opened",
    /// A snapshot is installed: the next start takes it.
    InstallCurrent = "install.current",
    /// A snapshot is installed: this process uses it.
    InstallSwapped = "install.swapped",
    /// A sender: between two pieces of a snapshot.
    SnapshotSend = "snapshot.send",
    /// A cluster's recovery: the node has a new incarnation.
    RecoverRenewed = "recover.renewed",
    /// A cluster's recovery: the vote of the new term is durable.
    RecoverVoted = "recover.voted",
    /// A cluster's recovery: the members are in the log, and what was lost is.
    RecoverAppended = "recover.appended",
    /// A cluster has members, and no identity.
    Founded = "init.founded",
    /// A cluster has its identity, and nobody is told.
    Identified = "init.identified",
    /// Before a command is submitted.
    Propose = "propose.begin",
    /// A command has its reply, and nobody is told.
    Proposed = "propose.done",
    /// A leader: silent sessions are found, not ended.
    SessionsExpire = "duty.expire",
    /// A leader: before a step of a file's deletion.
    OrphanReap = "duty.reap",
    /// A leader: before a step of a cut file's trimming.
    FileTrim = "duty.trim",
    /// A leader: before a changelog is trimmed.
    ChangelogTrim = "duty.trim-changelog",
    /// A leader: a node is a learner, and nobody is told.
    LearnerAdded = "members.added",
    /// A leader: a learner has a vote, and nobody is told.
    VoterAdded = "members.promoted",
    /// A leader: a member is taken out, and nobody is told.
    MemberRemoved = "members.removed",
    /// A leader: before it gives its leadership away.
    HandOver = "leader.hand-over",
    /// An origin: before records go to a follower.
    ChangelogSend = "changelog.send",
    /// An origin: before a page of a volume's rows goes to a mirror.
    LoadSend = "changelog.load",
    /// A mirror: before loading begins.
    MirrorLoad = "mirror.load",
    /// A mirror: before a page of rows is proposed.
    MirrorPage = "mirror.page",
    /// A mirror: all rows are there, and loading is not over.
    MirrorLoaded = "mirror.loaded",
    /// A mirror: before records are proposed.
    MirrorApply = "mirror.apply",
    /// A mirror: records are applied, and nobody knows.
    MirrorApplied = "mirror.applied",
    /// A mount: before the first block of a slice goes.
    SliceUpload = "slice.upload",
    /// A mount: all blocks of a slice are stored, none is committed.
    SliceUploaded = "slice.uploaded",
    /// A mount: before slices are committed.
    SliceCommit = "slice.commit",
    /// A mount: slices are committed, and nobody is told.
    SliceCommitted = "slice.committed",
    /// A mount is served.
    MountServed = "mount.served",
    /// A mount ends: what was written is stored, its session is open.
    MountFlushed = "mount.flushed",
    /// A mount: a backup is spooled, and nothing of it is in the bucket.
    BackupDumped = "backup.dumped",
    /// A mount: a backup is in the bucket, old ones are not removed.
    BackupStored = "backup.stored",
    /// A mount: a backup is complete, and the engine is not told.
    BackupPruned = "backup.pruned",
    /// A mount: the engine knows of a backup.
    BackupTold = "backup.told",
}

/// Passes a place.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn pass(_point: Point) {}

/// Passes a place, or ends the process there.
#[cfg(feature = "failpoints")]
pub fn pass(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(Point, AtomicU64)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        match parse(&text) {
            Some((point, count)) => Some((point, AtomicU64::new(count))),
            None => {
                eprintln!("{VARIABLE}={text} names no place: want NAME[:COUNT]");
                std::process::exit(2);
            }
        }
    });
    if let Some((chosen, left)) = chosen
        && *chosen == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        eprintln!("failpoint {}", point.name());
        std::process::abort();
    }
}

/// Names the place at which the process ends.
#[cfg(feature = "failpoints")]
const VARIABLE: &str = "CURLEW_FAILPOINT";

#[cfg(any(feature = "failpoints", test))]
fn parse(text: &str) -> Option<(Point, u64)> {
    let (name, count) = text.split_once(':').unwrap_or((text, "1"));
    let count = count.parse().ok().filter(|count| *count > 0)?;
    let point = Point::ALL.iter().find(|point| point.name() == name)?;
    Some((*point, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_place_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[test]
    fn a_place_and_a_count_are_read() {
        assert_eq!(parse("log.write"), Some((Point::LogWrite, 1)));
        assert_eq!(parse("log.write:7"), Some((Point::LogWrite, 7)));
        for wrong in ["", "nowhere", "log.write:", "log.write:0", "log.write:x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
