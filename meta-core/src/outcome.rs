//! How an operation ends. Three kinds that are never mixed: an *outcome* (here: replicated and
//! the same on every node), a *failure* (of the way to the leader; it lives in meta-server and
//! meta-client), and a [`Fatal`] (the store is damaged: stop).

use crate::attr::{Attr, Timestamp};
use crate::ids::{Epoch, Ino, Seq, SessionId, SliceId, VolumeId};
use crate::lock::{LockState, Woken};
use crate::task::Claim;
use std::fmt;

/// Why a well-formed operation was not done. It changed nothing. The numbers are stored in
/// replies: never change one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
#[repr(u16)]
pub enum Refusal {
    /// No such name or file.
    #[error("no such file or directory")]
    NotFound = 1,
    /// The name is taken.
    #[error("the name exists already")]
    Exists = 2,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory = 3,
    /// Anything but a directory was needed.
    #[error("is a directory")]
    IsDirectory = 4,
    /// The directory still has names.
    #[error("directory not empty")]
    NotEmpty = 5,
    /// Mode bits forbid it (EACCES).
    #[error("permission denied")]
    AccessDenied = 6,
    /// Only the owner or the superuser may (EPERM).
    #[error("operation not permitted")]
    NotPermitted = 7,
    /// A name over 255 bytes or a target over 4095.
    #[error("name too long")]
    NameTooLong = 8,
    /// The arguments make no sense.
    #[error("invalid argument")]
    InvalidArgument = 9,
    /// One more name would pass the limit.
    #[error("too many links")]
    TooManyLinks = 10,
    /// No space is left, on the volume or on the metadata nodes.
    #[error("no space left")]
    NoSpace = 11,
    /// This version of the volume does not do that.
    #[error("not supported")]
    NotSupported = 12,
    /// The file would be longer than a file can be.
    #[error("file too large")]
    FileTooLarge = 13,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute = 14,
    /// An attribute's value or the list of names is too large.
    #[error("attribute too large")]
    AttributeTooLarge = 15,
    /// The inode is gone: it was deleted since it was looked up.
    #[error("the file is gone")]
    Stale = 16,
    /// A slice came under no live grant of its session: it was revoked, or never given.
    #[error("the slice's id is not granted to this session")]
    GrantRevoked = 17,
    /// The volume's name is taken in this cluster, or no volume has the name.
    #[error("no such volume")]
    UnknownVolume = 18,
    /// A volume of that name exists.
    #[error("a volume of that name exists already")]
    VolumeExists = 19,
    /// A limit of the cluster (sessions, slots, ids) is reached.
    #[error("a limit of the cluster is reached")]
    LimitReached = 20,
    /// The cluster was given its identity before.
    #[error("the cluster is initialised already")]
    AlreadyInitialised = 21,
    /// The order of things changed since the command was made (ids it resolved differ).
    #[error("the name moved meanwhile")]
    Moved = 22,
    /// The volume is a mirror here: only its origin changes it.
    #[error("the volume is a mirror here: changes go to its origin")]
    Mirror = 23,
    /// The mirror cannot be read yet: its first snapshot is on its way.
    #[error("the mirror is still being loaded")]
    MirrorLoading = 24,
    /// Records or rows do not continue what the mirror has: ask it how far it is.
    #[error("the records do not continue what the mirror has")]
    MirrorGap = 25,
    /// The task was given to another session meanwhile, or to none.
    #[error("the task is not this session's any more")]
    ClaimLost = 26,
    /// One symlink too many in a path (ELOOP). Only an answer to a question, never stored.
    #[error("too many levels of symbolic links")]
    Loop = 27,
    /// The session, or the file, has as many locks as it can have.
    #[error("no locks available")]
    NoLocks = 28,
    /// A limit of a directory, a user or a group would be passed (EDQUOT).
    #[error("disk quota exceeded")]
    OverQuota = 29,
    /// A file would count elsewhere than where its new name is, past a directory's limit (EXDEV).
    #[error("the new name lies below a directory with a quota that the file is not counted in")]
    CrossesQuota = 30,
    /// Totals are not complete yet. Only an answer to a question, never stored.
    #[error("the volume's files are still being counted: try again later")]
    BeingCounted = 31,
    /// Slices are not what they were when it was decided what to do with them (EAGAIN).
    #[error("the file's slices changed meanwhile")]
    Changed = 32,
    /// Others change it faster than it can be copied, or too much is going on (EBUSY).
    #[error("busy: it changes faster than it can be copied, or too many are copied at a time")]
    Busy = 33,
    /// It was given up (ECANCELED).
    #[error("it was given up")]
    Cancelled = 34,
}

impl Refusal {
    /// The refusal stored as `number`, if there is one.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::NotFound,
            2 => Self::Exists,
            3 => Self::NotDirectory,
            4 => Self::IsDirectory,
            5 => Self::NotEmpty,
            6 => Self::AccessDenied,
            7 => Self::NotPermitted,
            8 => Self::NameTooLong,
            9 => Self::InvalidArgument,
            10 => Self::TooManyLinks,
            11 => Self::NoSpace,
            12 => Self::NotSupported,
            13 => Self::FileTooLarge,
            14 => Self::NoAttribute,
            15 => Self::AttributeTooLarge,
            16 => Self::Stale,
            17 => Self::GrantRevoked,
            18 => Self::UnknownVolume,
            19 => Self::VolumeExists,
            20 => Self::LimitReached,
            21 => Self::AlreadyInitialised,
            22 => Self::Moved,
            23 => Self::Mirror,
            24 => Self::MirrorLoading,
            25 => Self::MirrorGap,
            26 => Self::ClaimLost,
            27 => Self::Loop,
            28 => Self::NoLocks,
            29 => Self::OverQuota,
            30 => Self::CrossesQuota,
            31 => Self::BeingCounted,
            32 => Self::Changed,
            33 => Self::Busy,
            34 => Self::Cancelled,
            _ => return None,
        })
    }
}

/// What a mirror does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MirrorState {
    /// It takes in a snapshot of its origin.
    Loading,
    /// It applies its origin's records as they come.
    Following,
    /// It met what must not be: it goes on only by being loaded again.
    Stopped(StopReason),
    /// It is no mirror: a dump is being loaded into it.
    Restoring,
}

impl MirrorState {
    /// Its name in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Following => "following",
            Self::Stopped(reason) => reason.name(),
            Self::Restoring => "restoring",
        }
    }
}

/// Why a mirror stopped. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StopReason {
    /// A record of another cluster than the origin.
    WrongCluster = 1,
    /// A record of another volume.
    WrongVolume = 2,
    /// A record of another epoch.
    WrongEpoch = 3,
    /// A record of a level that this version does not know.
    UnknownLevel = 4,
    /// A record that does not chain to the one before.
    WrongChain = 5,
    /// A record whose crc does not fit its bytes.
    WrongCrc = 6,
    /// A record that cannot be read: damaged, or of a version unknown here.
    UnreadableRecord = 7,
    /// A row is not what the record found at the origin.
    RowDiffers = 8,
    /// The origin left out records.
    Gap = 9,
    /// The origin's record differs from the one that was applied under the same number.
    Forked = 10,
    /// The origin does not have the next records any more.
    NeedsResync = 11,
    /// What was loaded is not what the origin had.
    SnapshotDiffers = 12,
    /// The origin sent a record twice.
    Repeat = 13,
}

impl StopReason {
    /// The reason stored as `number`, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::WrongCluster,
            2 => Self::WrongVolume,
            3 => Self::WrongEpoch,
            4 => Self::UnknownLevel,
            5 => Self::WrongChain,
            6 => Self::WrongCrc,
            7 => Self::UnreadableRecord,
            8 => Self::RowDiffers,
            9 => Self::Gap,
            10 => Self::Forked,
            11 => Self::NeedsResync,
            12 => Self::SnapshotDiffers,
            13 => Self::Repeat,
            _ => return None,
        })
    }

    /// Its name in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongCluster => "stopped: wrong cluster",
            Self::WrongVolume => "stopped: wrong volume",
            Self::WrongEpoch => "stopped: wrong epoch",
            Self::UnknownLevel => "stopped: unknown level",
            Self::WrongChain => "stopped: wrong chain",
            Self::WrongCrc => "stopped: wrong crc",
            Self::UnreadableRecord => "stopped: unreadable record",
            Self::RowDiffers => "stopped: row differs",
            Self::Gap => "stopped: gap",
            Self::Forked => "stopped: forked",
            Self::NeedsResync => "needs resync",
            Self::SnapshotDiffers => "stopped: snapshot differs",
            Self::Repeat => "stopped: repeat",
        }
    }
}

/// Why a session's request was not executed *now*. Whether an earlier sending of the same request
/// was executed is unknown to the engine; the client knows if it sent one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotExecuted {
    /// The session does not exist: closed, expired, or of another cluster.
    UnknownSession,
    /// The slot's sequence is neither the last one nor the next.
    SlotMisordered {
        /// The sequence of the last request executed in the slot; 0 for none.
        last: u64,
    },
    /// The volume in the request is not the session's.
    WrongVolume,
}

/// What came of one name that was to be removed together with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It is gone.
    Removed {
        /// Names left to its file; with 0 the file lives on only in open handles.
        nlink: u32,
    },
    /// It is there as it was, or was not there.
    Refused(Refusal),
}

/// What an operation that was done gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Success {
    /// Nothing but that it was done.
    Done,
    /// The attributes after the change.
    Attr(Attr),
    /// A name's file after create or link.
    Entry {
        /// The file's attributes.
        attr: Attr,
        /// Whether this operation made the file.
        created: bool,
    },
    /// A name was removed.
    Removed {
        /// The file that had the name.
        ino: Ino,
        /// Names left; with 0 the file lives on only in open handles.
        nlink: u32,
    },
    /// What came of each name that was to be removed, in the order of the names.
    RemovedEntries(Vec<Removal>),
    /// Why each file that was to be restored stays in the trash, in their order; `None` if it came back.
    Restored(Vec<Option<Refusal>>),
    /// A rename was done.
    Renamed {
        /// The file now under the new name.
        ino: Ino,
        /// The file that lost the new name, and its names left, if there was one.
        replaced: Option<(Ino, u32)>,
    },
    /// Data was appended at this offset.
    Appended {
        /// Where the data begins in the file, in bytes.
        offset: u64,
        /// The attributes after the change.
        attr: Attr,
    },
    /// A range reads as zeros up to here.
    Fallocated {
        /// The range's end, or where another command must go on.
        next: u64,
        /// The attributes after the change.
        attr: Attr,
    },
    /// So much of a range was copied.
    Copied {
        /// Bytes from the range's begin: fewer than asked for at the end of the file, and where another
        /// command must go on.
        len: u64,
        /// The attributes of the file that was copied to, after the change.
        attr: Attr,
    },
    /// Slice ids that the session may commit: `first` up to `first + count - 1`.
    Granted {
        /// The first id.
        first: SliceId,
        /// How many.
        count: u32,
    },
    /// A session was opened.
    Session(SessionId),
    /// A volume was made.
    Volume(VolumeId),
    /// A mirror took in what it was given, as far as its state says.
    Mirrored(MirrorState),
    /// Whether the session was given the task that it offered itself for.
    Claimed(Claim),
    /// How a request for a lock stands, and whose requests wait no more because a lock went with it.
    Locked {
        /// How it stands.
        state: LockState,
        /// Up to [`crate::limits::WOKEN_MAX`] requests.
        woken: Vec<Woken>,
    },
    /// Locks went, and these requests wait no more.
    Unlocked(Vec<Woken>),
    /// A request for a lock waits no more. Otherwise it did not wait: it was granted before, perhaps.
    LockCancelled {
        /// Whether it waited.
        waited: bool,
    },
    /// A copy of a directory was begun.
    Cloning {
        /// Its number: the state can be asked for.
        job: Ino,
        /// Whether it is there already.
        done: bool,
    },
    /// A maintenance step was done.
    Maintained {
        /// Rows that the step removed.
        rows: u32,
        /// Whether more is left to do for the same target.
        more: bool,
    },
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Done(Success),
    /// Refused; nothing changed.
    Refused(Refusal),
    /// Not executed now; see [`NotExecuted`].
    NotExecuted(NotExecuted),
}

/// A volume's state as of a reply: carried by every answer, so that a reader can ask any copy for
/// at least this much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Token {
    /// The ownership under which the change was numbered.
    pub epoch: Epoch,
    /// The last change included.
    pub seq: Seq,
}

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The volume's state after the command.
    pub token: Token,
    /// The stamp that the command's changes carry.
    pub stamp: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// The store is damaged or does not answer: nothing it holds can be trusted to go on. The node
/// must refuse further writes and stop.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The store failed to read or write.
    #[error("the store failed: {0}")]
    Store(String),
    /// Bytes in the store are not what was written there.
    #[error("damaged {what} at key {key}: {why}")]
    Damaged {
        /// Which table or message.
        what: &'static str,
        /// The key, in hex.
        key: String,
        /// What does not fit.
        why: &'static str,
    },
    /// A rule that holds between rows does not hold.
    #[error("broken invariant: {0}")]
    Invariant(&'static str),
    /// A committed command was made by a newer version and cannot be understood here.
    #[error("a committed command cannot be understood: {0}; upgrade this node")]
    Command(String),
    /// A counter is used up.
    #[error("out of ids: {0}")]
    Exhausted(&'static str),
}

/// A refusal or a fatal, for the inside of an operation.
#[derive(Debug)]
pub enum Stop {
    /// Replicated: nothing changes, the caller is told.
    Refused(Refusal),
    /// This node must stop.
    Fatal(Fatal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// Hex of a key, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            use fmt::Write as _;
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}
