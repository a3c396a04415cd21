//! What is proposed to Raft: one command is one log entry, and every check happens in `apply`.

use crate::attr::{Caller, FileKind, Timestamp};
use crate::changelog::SealedRecord;
use crate::compaction::Compact;
use crate::ids::{ChunkIndex, ClusterId, Ino, Level, Seq, SessionId, SliceId, SlotIndex};
use crate::ids::{VolumeId, VolumeUuid};
use crate::limits::{LEVEL_MAX, LEVEL_UNSAID};
use crate::lock::{LockKind, LockRequest, UnlockRequest};
use crate::name::Name;
use crate::outcome::{Fatal, StopReason, Token};
use crate::quota::{Limit, Subject};
use crate::task::{NewBackup, Task};

/// A command as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The volume, or [`VolumeId::CLUSTER`].
    pub volume: VolumeId,
    /// The leader's clock when it proposed. Apply never goes back before the volume's last stamp.
    pub stamp: Timestamp,
    /// The level up to which all members read records, as the leader says; 0 where it does not say, as one
    /// of an earlier build, and means 2. So members of two builds take in the same records.
    pub read_level: Level,
    /// What to do.
    pub body: CommandBody,
}

/// Up to which levels a command takes in what comes from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads {
    /// Records, and dumps.
    pub(crate) records: Level,
    /// Snapshots of an origin, of which earlier builds do not look at the level.
    pub(crate) snapshots: Option<Level>,
}

impl Command {
    /// The levels up to which it takes things in.
    ///
    /// # Errors
    /// [`Fatal::Command`] if that is more than this version reads: to go on without the rows would be to
    /// differ from the others from then on.
    pub(crate) fn reads(&self) -> Result<Reads, Fatal> {
        match self.read_level {
            Level(0) => Ok(Reads {
                records: LEVEL_UNSAID,
                snapshots: None,
            }),
            level if level > LEVEL_MAX => Err(Fatal::Command(format!("records of level {level}"))),
            level => Ok(Reads {
                records: level,
                snapshots: Some(level),
            }),
        }
    }
}

/// The kinds of command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandBody {
    /// Gives the cluster its identity, once.
    InitCluster {
        /// Chosen at random by whoever initialises.
        cluster: ClusterId,
    },
    /// Makes a volume. Its root belongs to root with mode 0777.
    CreateVolume(CreateVolume),
    /// Opens a session on the command's volume.
    OpenSession {
        /// Chosen at random by the client, so that a retry finds the session it made.
        nonce: u128,
        /// Request slots, 1 to [`crate::limits::SLOTS_PER_SESSION_MAX`].
        slots: u32,
        /// Who it is, for `status`: JSON, opaque to the engine.
        info: Vec<u8>,
    },
    /// Ends a session: its slots and grants go.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Ends sessions that were silent too long by the leader's monotonic clock.
    ExpireSessions {
        /// The sessions.
        sessions: Vec<SessionId>,
    },
    /// An operation of a session, executed exactly once per (slot, sequence).
    Request(Request),
    /// Deletes what no name and no session holds any more, a bounded step at a time.
    Reap {
        /// A file without names, that every live session has let go.
        ino: Ino,
        /// Rows at most, up to [`crate::limits::MAINTENANCE_ROWS_MAX`].
        rows_max: u32,
    },
    /// [`Self::Reap`] of many files, one after the other, until there are rows enough.
    ReapFiles {
        /// The files, up to [`crate::limits::REAP_FILES_MAX`]; those that are gone already do not matter.
        inos: Vec<Ino>,
        /// Rows at most, of all files together.
        rows_max: u32,
    },
    /// Gives up what was removed before a time and is still in the trash, the oldest first: it is reaped
    /// as soon as nobody holds it.
    PurgeTrash {
        /// What was removed then or later stays.
        before: Timestamp,
        /// Files at most, up to [`crate::limits::TRASH_ENTRIES_MAX`].
        files_max: u32,
    },
    /// Tells the volume what to do. Only root may.
    SetOptions {
        /// Who asks.
        caller: Caller,
        /// How long removed files stay in the trash, up to [`crate::limits::TRASH_SECONDS_MAX`]; with 0
        /// there is none.
        trash_seconds: u64,
    },
    /// Sets a limit, or takes it away. Only root may.
    SetQuota {
        /// Who asks.
        caller: Caller,
        /// What is limited.
        subject: Subject,
        /// The limit; [`Limit::NONE`] takes it away.
        limit: Limit,
    },
    /// Takes the next files into the totals that do not have them yet.
    CountFiles {
        /// Files at most, up to [`crate::limits::COUNT_FILES_MAX`].
        files_max: u32,
    },
    /// Goes on with a copy of a directory, or with what is left of one that has ended.
    CloneStep {
        /// Its number.
        job: Ino,
        /// Rows at most.
        rows_max: u32,
        /// Whether rows are copied. Otherwise only those go that are left of one that has ended.
        copies: bool,
        /// Where the copy is to be, as its row says: it is put there if nothing is left to copy.
        attach: Option<(Ino, Name)>,
    },
    /// Moves slices behind a truncation to the pending deletes, a bounded step at a time.
    Trim {
        /// The file.
        ino: Ino,
        /// Rows at most.
        rows_max: u32,
    },
    /// Drops the oldest changelog records.
    TrimChangelog {
        /// The first record that is kept.
        keep_from: Seq,
    },
    /// Raises the volume's level, when all voters support it.
    RaiseLevel {
        /// The new level.
        level: Level,
    },
    /// Takes a number without a change, at which all copies of the volume can be compared.
    Mark,
    /// Notes a mirror of the volume, or, with empty info, forgets it.
    NoteFollower {
        /// The mirror's name: as a volume's.
        name: String,
        /// Where it is: JSON, opaque to the engine; never holds a secret.
        info: Vec<u8>,
    },
    /// Makes a volume that follows another cluster.
    CreateMirror(CreateMirror),
    /// On a mirror: what its origin sends.
    Mirror(MirrorStep),
    /// Makes a volume that a dump is loaded into.
    BeginRestore(BeginRestore),
    /// The dump's next rows.
    RestoreRows(LoadRows),
    /// All rows were sent: the volume becomes an origin, in a new epoch.
    EndRestore {
        /// The stamp of the last change before the dump.
        stamp: Timestamp,
        /// The digest of all its rows.
        digest: u128,
    },
    /// The cluster goes on from what one node has, after more than half of it was lost for good: ids
    /// and records that the others had given, and this one does not know of, are not given again.
    Recovered,
}

/// How a dump begins to be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BeginRestore {
    /// The volume's name here.
    pub name: String,
    /// The volume that was dumped.
    pub uuid: VolumeUuid,
    /// The cluster that dumped it.
    pub origin: ClusterId,
    /// Where its blocks lie: JSON, opaque to the engine.
    pub storage: Vec<u8>,
    /// The volume's state in the dump.
    pub snapshot: Token,
    /// CRC of its last record.
    pub record_crc: u32,
}

/// How a mirror is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateMirror {
    /// The volume's name.
    pub name: String,
    /// The origin's volume.
    pub uuid: VolumeUuid,
    /// The cluster to follow.
    pub origin: ClusterId,
    /// Where blocks are read from on this side: JSON, opaque to the engine.
    pub storage: Vec<u8>,
    /// The origin's address and this mirror's name: JSON, opaque to the engine.
    pub info: Vec<u8>,
}

/// What a mirror's leader proposes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MirrorStep {
    /// Begins to load a snapshot. What a snapshot before it left is replaced as the rows come. The
    /// volume's changelog must be empty.
    BeginLoad {
        /// The volume's state in the snapshot.
        snapshot: Token,
        /// CRC of its last record.
        record_crc: u32,
        /// Also if the mirror follows, or stopped.
        again: bool,
    },
    /// The snapshot's next rows.
    Load(LoadRows),
    /// All rows were sent.
    EndLoad {
        /// The stamp of the snapshot's last change.
        stamp: Timestamp,
        /// The digest of all its rows.
        digest: u128,
    },
    /// The next records, in order. Those that are applied already are skipped if they are equal.
    Apply(Vec<SealedRecord>),
    /// The stream itself is wrong.
    Stop {
        /// Why.
        reason: StopReason,
        /// The record that was expected.
        at: Seq,
    },
}

/// A piece of a snapshot: all rows with keys after the mirror's cursor, up to `through`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadRows {
    /// The cursor that this continues: the last `through`; empty at the beginning.
    pub after: Vec<u8>,
    /// The last key that this covers; rows of an earlier snapshot up to it that are not in `rows`
    /// go.
    pub through: Vec<u8>,
    /// Keys (tag and ids) and rows, by rising key.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a volume is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateVolume {
    /// 1 to 63 bytes of `[a-z0-9-]`, first and last alphanumeric.
    pub name: String,
    /// Chosen at random.
    pub uuid: VolumeUuid,
    /// Bytes of a block: a power of two from 64 KiB to 16 MiB.
    pub block_bytes: u32,
    /// Where blocks live on this side: JSON, opaque to the engine; never holds a secret.
    pub storage: Vec<u8>,
}

/// An operation of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The session.
    pub session: SessionId,
    /// Its slot.
    pub slot: SlotIndex,
    /// One more than the slot's last sequence; the first is 1.
    pub sequence: u64,
    /// On whose behalf.
    pub caller: Caller,
    /// What to do.
    pub operation: Operation,
}

/// What a client can change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Makes a file of any kind under a new name.
    Create(Create),
    /// Gives a file one more name.
    Link {
        /// The file; not a directory.
        ino: Ino,
        /// The directory of the new name.
        parent: Ino,
        /// The new name.
        name: Name,
    },
    /// Removes a name of anything but a directory.
    Unlink {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// Removes an empty directory.
    Rmdir {
        /// The directory that holds the name.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// Removes names of one directory, whatever they are of but directories that hold names. Each is
    /// removed or refused by itself, exactly as [`Self::Unlink`] or [`Self::Rmdir`] would.
    RemoveEntries {
        /// The directory.
        parent: Ino,
        /// 1 to [`crate::limits::REMOVE_ENTRIES_MAX`] names.
        names: Vec<Name>,
        /// Whether files that lose their last name go past the trash: only root may.
        skip_trash: bool,
    },
    /// Gives files of the trash a name in a directory. Each is restored or refused by itself.
    Restore {
        /// The directory.
        parent: Ino,
        /// 1 to [`crate::limits::TRASH_ENTRIES_MAX`] files, with their new names.
        files: Vec<(Ino, Name)>,
    },
    /// Gives up files of the trash before their time: only root may.
    EmptyTrash {
        /// 1 to [`crate::limits::TRASH_ENTRIES_MAX`] files; those that are not in the trash do not
        /// matter.
        inos: Vec<Ino>,
    },
    /// Moves a name.
    Rename {
        /// The directory of the old name.
        parent: Ino,
        /// The old name.
        name: Name,
        /// The directory of the new name.
        new_parent: Ino,
        /// The new name.
        new_name: Name,
        /// What to do with a file that has the new name.
        mode: RenameMode,
    },
    /// Changes attributes, the length among them.
    SetAttr(SetAttr),
    /// Makes uploaded slices part of a file.
    Commit(Commit),
    /// Adds uploaded slices at the file's end, wherever it is when this is applied.
    Append(Append),
    /// Makes a range of a file read as zeros.
    Fallocate(Fallocate),
    /// Makes a range of a file what a range of a file is, without its data being read: both share the
    /// slices.
    CopyRange(CopyRange),
    /// Begins to copy a directory with all that is in it, or another file, without its data being read. Small
    /// ones are there when this is done, others once the leader has copied the rest.
    Clone(CloneTree),
    /// Gives up a copy that is being made. Only root and who began it may.
    CancelClone {
        /// Its number.
        job: Ino,
    },
    /// Puts few slices in the place of many that show the same. Only root may.
    Compact(Compact),
    /// Tells when files were read last. What is older than what a file has says nothing, and so does a file
    /// that is gone.
    Accessed {
        /// 1 to [`crate::limits::ACCESSED_MAX`] files; times later than the command's are taken for that.
        files: Vec<(Ino, Timestamp)>,
    },
    /// Sets an extended attribute.
    SetXattr {
        /// The file.
        ino: Ino,
        /// `user.` and `trusted.` and `security.` names, and those of ACLs ([`crate::acl`]); 1 to 255 bytes.
        name: Vec<u8>,
        /// Up to 64 KiB.
        value: Vec<u8>,
        /// Whether the name must be new or must exist; of no meaning for ACLs, as on Linux.
        mode: XattrMode,
    },
    /// Removes an extended attribute.
    RemoveXattr {
        /// The file.
        ino: Ino,
        /// The name.
        name: Vec<u8>,
    },
    /// Gets slice ids to commit under.
    GrantSlices {
        /// How many, 1 to [`crate::limits::GRANT_SLICES_MAX`].
        count: u32,
    },
    /// Offers the session for a task; or, if it has the task, says that it is still at it.
    ClaimTask {
        /// The task.
        task: Task,
        /// How long ago it must have been done last to be due, in milliseconds; at least 1.
        interval_ms: u64,
    },
    /// Gives a task back undone.
    ReleaseTask {
        /// The task.
        task: Task,
    },
    /// Tells of a backup that the session was given to make.
    FinishBackup(NewBackup),
    /// Takes a lock, or waits for it, or asks how a request stands that waits.
    Lock(LockRequest),
    /// Gives back what the owner has locked in a range.
    Unlock(UnlockRequest),
    /// Ends a request that waits.
    CancelLock {
        /// The kind of the lock.
        kind: LockKind,
        /// The owner's number in its session.
        owner: u64,
        /// The number that it waits under.
        ticket: u64,
    },
}

/// Makes a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// The directory.
    pub parent: Ino,
    /// The new name.
    pub name: Name,
    /// Permission bits after the umask.
    pub mode: u32,
    /// Permission bits that the umask took away. In a directory with a default ACL they are asked for as
    /// well, as POSIX has it.
    pub masked: u32,
    /// What to make.
    pub node: NewNode,
    /// What to do if the name exists.
    pub existing: Existing,
}

/// What a create makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewNode {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// 1 to 4095 bytes without NUL.
        target: Vec<u8>,
    },
    /// A fifo, a socket or a device.
    Special {
        /// Fifo, socket, character or block device.
        kind: FileKind,
        /// The device number; 0 for fifo and socket.
        rdev: u32,
    },
}

/// What a create does with a name that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// Refuses with [`crate::outcome::Refusal::Exists`].
    Refuse,
    /// Answers the regular file that is there, if the caller may open it as it wants to.
    Open {
        /// Wants to read.
        read: bool,
        /// Wants to write.
        write: bool,
    },
}

/// What a rename does with a file that has the new name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Refuses.
    NoReplace,
    /// Swaps the two names.
    Exchange,
}

/// Whether an extended attribute must be new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XattrMode {
    /// Either.
    Set,
    /// It must be new.
    Create,
    /// It must exist.
    Replace,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// The command's stamp.
    Now,
    /// This time.
    At(Timestamp),
}

/// Attributes to change; `None` keeps one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// The file.
    pub ino: Ino,
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New length of a regular file; a longer one reads as zeros.
    pub length: Option<u64>,
    /// New access time.
    pub atime: Option<SetTime>,
    /// New modification time.
    pub mtime: Option<SetTime>,
    /// The length is set through a handle open for writing, so mode bits were checked at open.
    pub by_handle: bool,
    /// Set-user-id and set-group-id go, as after a write by somebody else.
    pub drop_privilege_bits: bool,
    /// The length is only ever raised: a file that is as long already stays as it is.
    pub grow_only: bool,
}

/// An uploaded slice to make part of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSlice {
    /// The chunk.
    pub chunk: ChunkIndex,
    /// Where in the chunk it begins, in bytes.
    pub at: u32,
    /// Its id, under a live grant of the session.
    pub id: SliceId,
    /// Its length in bytes, at least 1; `at + len` is at most 64 MiB.
    pub len: u32,
    /// CRC-32 of each frame's stored bytes, in order; one per started 64 KiB.
    pub frame_crcs: Vec<u32>,
}

/// Makes uploaded slices part of a file, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// A regular file.
    pub ino: Ino,
    /// 1 to [`crate::limits::COMMIT_SLICES_MAX`] slices.
    pub slices: Vec<NewSlice>,
    /// When the data was written, as far as the client wants it kept; `None` is the stamp.
    pub mtime: Option<Timestamp>,
}

/// An uploaded slice to be placed at the end of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendSlice {
    /// Its id, under a live grant of the session.
    pub id: SliceId,
    /// Its length in bytes, 1 to 64 MiB.
    pub len: u32,
    /// As in [`NewSlice`].
    pub frame_crcs: Vec<u32>,
}

/// Adds slices at the end of a file, one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// A regular file.
    pub ino: Ino,
    /// 1 to [`crate::limits::COMMIT_SLICES_MAX`] slices.
    pub slices: Vec<AppendSlice>,
}

/// Makes a range of a regular file read as zeros, through a handle open for writing. What no file shows
/// any more there is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fallocate {
    /// The file.
    pub ino: Ino,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// Its bytes, at least 1.
    pub len: u64,
    /// What becomes of the file's length.
    pub mode: FallocateMode,
}

/// Makes a range of a file what a range of a file is. It may be the same file, if the ranges are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyRange {
    /// The file that is copied from.
    pub from: Ino,
    /// Where its range begins, in bytes. What would lie behind its end is not copied.
    pub offset: u64,
    /// The file that is copied to.
    pub to: Ino,
    /// Where its range begins, in bytes.
    pub to_offset: u64,
    /// Bytes of the range, at least 1.
    pub len: u64,
}

/// Makes a copy of a directory with all that is in it, or of another file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloneTree {
    /// What is copied.
    pub source: Ino,
    /// The directory that the copy is to be in; not one in the source.
    pub parent: Ino,
    /// Its name there.
    pub name: Name,
    /// Whether copies have owners, modes, times and attributes of what they were copied from. Otherwise they
    /// are the caller's, as if just made.
    pub preserve: bool,
    /// Permission bits that the caller's copies do not get.
    pub umask: u32,
    /// Rows that are copied at once, up to [`crate::limits::MAINTENANCE_ROWS_MAX`].
    pub rows_max: u32,
}

/// What making a range read as zeros does to a file that ends before the range does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallocateMode {
    /// It stays as long as it is.
    Punch,
    /// It ends where the range does.
    Zero,
}
