//! What can be read. A query is answered from one snapshot of a node's tables; the node makes sure
//! that the snapshot is recent enough (ReadIndex at the leader).

use crate::attr::{Attr, Caller, Timestamp};
use crate::compaction::Effort;
use crate::ids::{ChunkIndex, ClusterId, DentryNumber, Ino, Level, SessionId, SliceId, SliceOrder};
use crate::ids::{Seq, VolumeId, VolumeUuid};
use crate::lock::{GetLock, HeldLock};
use crate::name::Name;
use crate::outcome::{Refusal, Token};
use crate::path::{Resolve, Resolved};
use crate::quota::{Amount, Space, Subject, Usage};
use crate::row::CloneState;
use crate::task::BackupStatus;

/// A question about a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The volume, or [`VolumeId::CLUSTER`].
    pub volume: VolumeId,
    /// On whose behalf.
    pub caller: Caller,
    /// What is asked.
    pub body: QueryBody,
}

/// The kinds of query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryBody {
    /// A name's file. Needs search permission on the directory.
    Lookup {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// A file's attributes.
    GetAttr {
        /// The file.
        ino: Ino,
    },
    /// The attributes of many files.
    GetAttrs {
        /// The files, up to [`crate::limits::GET_ATTRS_MAX`].
        inos: Vec<Ino>,
    },
    /// All files along a path.
    Resolve(Resolve),
    /// A file's attributes, if the caller may open it so.
    Open {
        /// The file.
        ino: Ino,
        /// To read.
        read: bool,
        /// To write.
        write: bool,
    },
    /// Names of a directory after a cursor, in insertion order.
    ReadDir {
        /// The directory.
        ino: Ino,
        /// The number of the last name seen; [`DentryNumber`] 0 for none.
        after: DentryNumber,
        /// Names at most, up to [`crate::limits::READDIR_ENTRIES_MAX`].
        entries_max: u32,
        /// Whether to add each file's attributes.
        with_attrs: bool,
    },
    /// A symlink's target.
    ReadLink {
        /// The symlink.
        ino: Ino,
    },
    /// The slices of some chunks, oldest first in each, cut as truncations say.
    ReadSlices {
        /// The file.
        ino: Ino,
        /// Where to begin.
        from: SliceCursor,
        /// The chunk after the last.
        end: ChunkIndex,
    },
    /// An extended attribute's value.
    GetXattr {
        /// The file.
        ino: Ino,
        /// Its name.
        name: Vec<u8>,
    },
    /// The names of all extended attributes that the caller may see.
    ListXattr {
        /// The file.
        ino: Ino,
    },
    /// The copies of directories that are being made, and those that ended not long ago. Others than root see
    /// their own.
    Clones,
    /// Totals of the volume.
    StatVolume,
    /// A path from the root to a file, one of many if it has many names.
    PathOf {
        /// The file.
        ino: Ino,
    },
    /// What a client must know before it mounts, by the volume's name (asked of the cluster).
    FindVolume {
        /// The volume's name.
        name: String,
    },
    /// Files without names, which live while a session holds them open.
    Orphans {
        /// Continue after this one; [`Ino`] 0 for the first page.
        after: Ino,
        /// At most this many.
        count_max: u32,
    },
    /// What is in the trash.
    Trash(AskTrash),
    /// What something adds up to, and may. Users and groups: only to root, to the user, and to members.
    Usage(Subject),
    /// What some files add up to: directories with all that lies below them.
    Amounts {
        /// The files, up to [`crate::limits::AMOUNTS_MAX`].
        inos: Vec<Ino>,
    },
    /// All limits. Only to root.
    Limits {
        /// Continue after this one.
        after: Option<Subject>,
        /// At most this many, up to [`crate::limits::LIMITS_PAGE_MAX`].
        count_max: u32,
    },
    /// How much there is room for at a file's place.
    Space {
        /// The file.
        ino: Ino,
    },
    /// Files that have slices behind a truncation.
    Cuts {
        /// Continue after this one; [`Ino`] 0 for the first page.
        after: Ino,
        /// At most this many.
        count_max: u32,
    },
    /// Chunks that got so many slices that they may be worth compacting. Only to root.
    Compactable {
        /// Continue after this one; chunk 0 of [`Ino`] 0 for the first page.
        after: (Ino, ChunkIndex),
        /// At most this many, up to [`crate::limits::COMPACTABLE_PAGE_MAX`].
        count_max: u32,
    },
    /// Which slices of a chunk to compact. Only to root.
    PlanCompaction {
        /// The file.
        ino: Ino,
        /// The chunk.
        chunk: ChunkIndex,
        /// How far to go.
        effort: Effort,
    },
    /// The live sessions of the volume, or of the cluster.
    Sessions {
        /// Continue after this one; [`SessionId`] 0 for the first page.
        after: SessionId,
        /// At most this many.
        count_max: u32,
    },
    /// The mirrors that the volume's origin was told of.
    Followers,
    /// How the volume's backups stand in this cluster.
    Backup,
    /// A lock that would be in the way of another.
    GetLock(GetLock),
    /// Volumes of the cluster (asked of the cluster).
    Volumes {
        /// Continue after this one.
        after: VolumeId,
        /// At most this many.
        count_max: u32,
    },
}

/// Which files of the trash are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AskTrash {
    /// One, which the caller must own.
    File(Ino),
    /// Those that were removed from a directory, by name, and under each name the latest first. Needs
    /// permission to read the directory, as it is or was.
    Of {
        /// The directory; it may be in the trash itself.
        parent: Ino,
        /// Only those removed under this name.
        name: Option<Name>,
        /// Continue after this one.
        after: Option<TrashCursor>,
        /// At most this many, up to [`crate::limits::READDIR_ENTRIES_MAX`].
        count_max: u32,
    },
}

/// A place in the trash of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashCursor {
    /// The name.
    pub name: Name,
    /// When it was removed.
    pub removed: Timestamp,
    /// The file.
    pub ino: Ino,
}

/// A file in the trash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashEntry {
    /// The directory that it was removed from.
    pub parent: Ino,
    /// Its last name.
    pub name: Name,
    /// When it was removed.
    pub removed: Timestamp,
    /// Who removed it.
    pub uid: u32,
    /// Its attributes.
    pub attr: Attr,
}

impl TrashEntry {
    /// Its place: where to continue after it.
    pub fn cursor(&self) -> TrashCursor {
        TrashCursor {
            name: self.name.clone(),
            removed: self.removed,
            ino: self.attr.ino,
        }
    }
}

/// The trash of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrashStat {
    /// How long removed files stay in it, in seconds; with 0 there is none.
    pub seconds: u64,
    /// Files of every kind in it.
    pub inodes: u64,
    /// Their bytes, each rounded up to 4 KiB.
    pub bytes: u64,
    /// When the oldest of them was removed.
    pub oldest: Option<Timestamp>,
}

/// A place among a file's slices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SliceCursor {
    /// The chunk.
    pub chunk: ChunkIndex,
    /// The first order in the chunk to answer.
    pub order: SliceOrder,
}

/// A part of a slice as it lies in a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The chunk.
    pub chunk: ChunkIndex,
    /// Its place in the order of writes.
    pub order: SliceOrder,
    /// Its id: with the volume's uuid, the name of its blocks.
    pub id: SliceId,
    /// Bytes of the whole uploaded slice.
    pub size: u32,
    /// Where this part begins in the uploaded slice.
    pub off: u32,
    /// Bytes of this part.
    pub len: u32,
    /// Where this part begins in the chunk.
    pub at: u32,
    /// CRC-32 of each frame of the whole slice.
    pub frame_crcs: Vec<u32>,
}

/// A copy of a directory that is being made, or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloneStatus {
    /// Its number.
    pub job: Ino,
    /// What is copied.
    pub source: Ino,
    /// The directory that the copy is to be in.
    pub parent: Ino,
    /// Its name there.
    pub name: Name,
    /// Who began it.
    pub uid: u32,
    /// How far it is.
    pub state: CloneState,
    /// Whether rows are left that the leader has to do something with.
    pub is_at_work: bool,
    /// Files that have a copy.
    pub files: u64,
    /// When it got into its state.
    pub since: Timestamp,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its number: the cursor to continue after it.
    pub number: DentryNumber,
    /// The name.
    pub name: Name,
    /// The file.
    pub ino: Ino,
    /// Its type.
    pub kind: crate::attr::FileKind,
    /// Its attributes, if asked for.
    pub attr: Option<Attr>,
}

/// Totals of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeStat {
    /// Files of every kind that exist, those without names too.
    pub inodes: u64,
    /// Bytes of all regular files, each rounded up to 4 KiB.
    pub bytes: u64,
    /// Bytes of slices that no file uses any more and that wait for their deletion.
    pub pending_delete_bytes: u64,
    /// Slices that wait so.
    pub pending_delete_slices: u64,
    /// Files without names.
    pub orphans: u64,
    /// The trash, which a volume has from level 3 on. What is in it is among `inodes` and `bytes`.
    pub trash: Option<TrashStat>,
    /// Whether files are not in the totals yet that will be.
    pub is_counting: bool,
    /// Whether the volume or a directory in it has a limit, so that [`QueryBody::Space`] tells of one.
    pub is_limited: bool,
    /// Bytes of retained changelog records.
    pub changelog_bytes: u64,
    /// The oldest retained record; one past the newest if there is none.
    pub changelog_first: Seq,
    /// The state digest, as hex.
    pub digest: String,
    /// The volume's state.
    pub token: Token,
}

/// What a client must know about a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeInfo {
    /// Its number in this cluster.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// Its name for ever.
    pub uuid: VolumeUuid,
    /// The cluster that opened the current epoch: a part of block keys.
    pub opened_by: ClusterId,
    /// Clusters that opened earlier epochs, by epoch, the current one last.
    pub epochs: Vec<(crate::ids::Epoch, ClusterId)>,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Its level.
    pub level: Level,
    /// Where blocks live on this side: JSON.
    pub storage: Vec<u8>,
}

/// A live session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// Its volume.
    pub volume: VolumeId,
    /// When it was opened.
    pub opened: Timestamp,
    /// Who it is: JSON.
    pub info: Vec<u8>,
}

/// The answer to a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To `Lookup`, `GetAttr` and `Open`.
    Attr(Attr),
    /// To `GetAttrs`: of each file, in the order of the question, what `GetAttr` would answer.
    Attrs(Vec<Result<Attr, Refusal>>),
    /// To `Resolve`.
    Resolved(Resolved),
    /// To `ReadDir`.
    Entries {
        /// The directory that holds this one.
        parent: Ino,
        /// A page of names.
        entries: Vec<DirEntry>,
        /// Whether the page reaches the directory's end.
        end: bool,
    },
    /// To `ReadLink`, `GetXattr`: the bytes.
    Bytes(Vec<u8>),
    /// To `ReadSlices`.
    Slices {
        /// The file's attributes at the same instant.
        attr: Attr,
        /// A page of slices.
        slices: Vec<Slice>,
        /// Where to continue, if the page ended early.
        next: Option<SliceCursor>,
    },
    /// To `ListXattr`.
    Names(Vec<Vec<u8>>),
    /// To `StatVolume`.
    Stat(VolumeStat),
    /// To `PathOf`: names from the root; none for the root itself.
    Path(Vec<Name>),
    /// To `FindVolume`.
    Volume(VolumeInfo),
    /// To `Volumes`.
    Volumes(Vec<VolumeInfo>),
    /// To `Compactable`.
    Chunks(Vec<(Ino, ChunkIndex)>),
    /// To `PlanCompaction`: the slices as they are stored, also where others lie over them; none if there is
    /// nothing to be made better.
    Compaction(Vec<Slice>),
    /// To `Orphans` and `Cuts`.
    Inodes(Vec<Ino>),
    /// To `Trash`.
    Trash {
        /// A page of files.
        entries: Vec<TrashEntry>,
        /// Whether none follow.
        end: bool,
    },
    /// To `Usage`.
    Usage(Usage),
    /// Copies of directories, by number.
    Clones(Vec<CloneStatus>),
    /// To `Amounts`: of each file, in the order of the question.
    Amounts(Vec<Result<Amount, Refusal>>),
    /// To `Limits`.
    Limits {
        /// A page of them; the volume's comes first, if it has one.
        limits: Vec<Usage>,
        /// Whether none follow.
        end: bool,
    },
    /// To `Space`.
    Space(Space),
    /// To `Sessions`.
    Sessions(Vec<SessionInfo>),
    /// To `Followers`: name and info of each mirror.
    Followers(Vec<(String, Vec<u8>)>),
    /// To `Backup`.
    Backup(BackupStatus),
    /// To `GetLock`.
    Lock(Option<HeldLock>),
}
