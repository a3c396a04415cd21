//! Bugs that are put in on purpose, one at a time, to see that the tests find them.
//!
//! Without the feature `seeded-bugs`, which only the tests' own builds have, there are none:
//! [`has`] is then a constant. The table of what found them is in `docs/proof.md`.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal,)*) => {
        /// A bug.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// A rename over a name in another directory forgets to write the new name.
    LostDirent = "lost dirent in rename",
    /// An exchange between two directories moves only one of the names.
    HalfExchange = "half an exchange",
    /// A request that is sent again is executed again.
    DoubleApply = "double apply after retry",
    /// Rows of extended attributes are not in the digest.
    DigestMissesTable = "digest that misses a table",
    /// A file with more than one name does not lose a link with a name.
    LinkNotCounted = "link count not lowered",
    /// Changes carry the leader's clock even if that went back.
    StampGoesBack = "stamp goes back",
    /// A mirror does not delete the rows that its origin deleted.
    MirrorKeepsDeleted = "mirror keeps deleted rows",
    /// The log says that entries are durable before they are synced.
    AckBeforeSync = "acknowledge before fsync",
    /// A vote is given before it is synced.
    VoteNotSynced = "vote not synced",
    /// A flush of the state loses one of the rows written last.
    FlushLosesRow = "flush loses a row",
    /// A snapshot lacks one of the rows written last.
    SnapshotLosesRow = "snapshot without its last row",
    /// The log is purged although the state's files do not have what it held.
    PurgeBeforeFlush = "purge before flush",
    /// Entries that a new leader replaces stay on the disk.
    TruncateInMemory = "truncation in memory only",
    /// The crc of a log entry is not looked at.
    CrcNotChecked = "crc of the log not checked",
    /// A leader answers reads without asking whether it still leads.
    StaleRead = "stale leader read",
    /// A node that was started votes and stands for election at once, although a leader may rely on
    /// what it has forgotten.
    StartedNodeVotes = "started node votes",
    /// A follower answers reads without asking the leader how far it must be.
    FollowerDoesNotAsk = "follower does not ask",
    /// A changelog that is resumed begins one record too late.
    ChangelogGap = "changelog gap",
    /// A mirror answers before it has applied what the reader has seen.
    MirrorIgnoresToken = "mirror ignores the token",
    /// Files change without a word to those who cache them.
    LeaseNotRecalled = "lease not recalled",
    /// Holders of leases are asked, and their answer is not waited for.
    RecallNotAwaited = "recall not awaited",
    /// A lease is given on a file that is about to change.
    LeaseDuringChange = "lease given during a change",
    /// Totals of directories do not change when a file moves from one to another.
    TotalsNotMoved = "totals not moved",
    /// A slice that several files share is given up with the first that goes.
    SharedSliceGivenUp = "shared slice given up",
    /// A lost answer is taken for a failure.
    LostAnswerFails = "lost answer told as failure",
}

/// Whether the bug is put in.
#[cfg(not(feature = "seeded-bugs"))]
pub const fn has(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
static CHOSEN: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

/// Whether the bug is put in.
#[cfg(feature = "seeded-bugs")]
pub fn has(bug: Bug) -> bool {
    CHOSEN.get() == Some(&bug)
}

/// Puts a bug in, for the rest of the process. Says whether it was the first.
#[cfg(feature = "seeded-bugs")]
pub fn choose(bug: Bug) -> bool {
    CHOSEN.set(bug).is_ok()
}
