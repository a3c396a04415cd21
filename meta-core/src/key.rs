//! Where each row lives. A key is `volume u32 | table u8 | ids`, all big-endian, so that one
//! volume is one range, one table one range in it, and ids sort as numbers.
//!
//! | table | tag | ids behind the tag | row |
//! |---|---|---|---|
//! | counters | 0x01 | - | [`crate::row::Counters`] |
//! | settings | 0x02 | - | [`crate::row::Settings`] |
//! | epoch | 0x03 | epoch u16 | [`crate::row::EpochOpened`] |
//! | options | 0x04 | - | [`crate::row::Options`] |
//! | inode | 0x10 | ino u64 | [`crate::row::Inode`] |
//! | dentry | 0x11 | parent u64, name | [`crate::row::Dentry`] |
//! | dentry number | 0x12 | parent u64, number u64 | [`crate::row::Named`] |
//! | slice | 0x13 | ino u64, chunk u32, order u64 | [`crate::row::SliceRow`] |
//! | symlink | 0x14 | ino u64 | target bytes |
//! | xattr | 0x15 | ino u64, name | value bytes |
//! | link | 0x16 | ino u64, parent u64, number u64 | nothing |
//! | orphan | 0x17 | ino u64 | nothing |
//! | cut | 0x18 | ino u64, order u64 | [`crate::row::Cut`] |
//! | pending delete | 0x19 | slice id u64 | [`crate::row::PendingDelete`] |
//! | shared slice | 0x1b | slice id u64 | [`crate::row::SharedSlice`] |
//! | totals | 0x1c | 0u8, ino u64 | [`crate::row::Totals`] of a directory |
//! | | | 1u8, uid u32 | the same of a user |
//! | | | 2u8, gid u32 | the same of a group |
//! | | | 3u8, 0u8 to 2u8, ino, uid or gid as u64 | nothing: it has a limit |
//! | hole | 0x1d | ino u64, chunk u32, order u64 | [`crate::row::Hole`] |
//! | trash | 0x1e | 0u8, ino u64 | [`crate::row::Trashed`] |
//! | | | 1u8, removed, ino u64 | nothing |
//! | | | 2u8, parent u64, name, 0u8, removed with all bits turned, ino u64 | nothing: the latest of a name first |
//! | | | 3u8 | [`crate::row::TrashTotals`] |
//! | clone | 0x1f | 0u8, job u64 | [`crate::row::CloneJob`] |
//! | | | 1u8, job u64, source ino u64 | [`crate::row::InoRef`]: its copy |
//! | | | 2u8, job u64, source ino u64 | table u8, ids behind the ino: where its scan goes on |
//! | | | 3u8, job u64, source ino u64, table u8, ids behind the ino | nothing: the row is to be copied again |
//! | | | 4u8, job u64, copy's ino u64 | [`crate::row::InoRef`]: its source |
//! | head | 0x80 | - | [`crate::row::Head`] |
//! | storage | 0x81 | - | the description's bytes |
//! | mirror | 0x82 | - | [`crate::row::Mirror`] |
//! | slot | 0x83 | session u64, slot u32 | [`crate::row::Slot`] |
//! | grant | 0x84 | session u64, last slice id u64 | [`crate::row::Grant`] |
//! | nonce | 0x85 | nonce u128 | [`crate::row::SessionRef`] |
//! | mirror info | 0x86 | - | the origin's address and the mirror's name, as JSON |
//! | follower | 0x87 | name | where a mirror of this volume is, as JSON |
//! | claim | 0x88 | task u8 | [`crate::row::TaskClaim`] |
//! | backup | 0x89 | - | [`crate::task::Backup`] |
//! | lock | 0x8a | 0u8, ino u64, domain u8, session u64, kind u8, owner u64, first byte u64 | [`crate::row::LockRow`] |
//! | | | 1u8, session u64, ino u64, domain u8 | nothing: the session has locks there |
//! | | | 2u8, session u64 | [`crate::row::SessionLocks`] |
//! | waiter | 0x8b | 0u8, ino u64, domain u8, place u64 | [`crate::row::Waiter`] |
//! | | | 1u8, session u64, kind u8, owner u64, ticket u64 | [`crate::row::WaitPlace`] |
//! | compactable | 0x8c | ino u64, chunk u32 | nothing |
//! | cluster | 0x90 | - | [`crate::row::Cluster`] |
//! | volume name | 0x91 | name | [`crate::row::VolumeRef`] |
//! | session | 0x92 | session u64 | [`crate::row::Session`] |
//!
//! Tags below 0x80 are *replicated*: in the digest, in the changelog, in mirrors. The others are
//! *local* to a cluster. The last three tables belong to volume 0, the cluster itself. Reserved
//! from the first format: 0x1a inline data.
//! Volume 0xffff_ffff belongs to the store below, which keeps its applied position there.

mod clones;

pub(crate) use clones::{
    CLONE_COPY, CLONE_DIRTY, CLONE_JOB, CLONE_SCAN, CLONE_SOURCE, of_clone, of_cloned,
};
pub use clones::{clone_job, clones};

use crate::attr::Timestamp;
use crate::ids::{ChunkIndex, DentryNumber, Epoch, Ino, Seq, SessionId, SliceId, SliceOrder};
use crate::ids::{SlotIndex, VolumeId};
use crate::lock::{LockDomain, LockOwner};
use crate::name::Name;
use crate::quota::Subject;
use crate::task::Task;

/// A table's tag. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// Totals and id counters of a volume.
    Counters = 0x01,
    /// What a volume was formatted with, and its level.
    Settings = 0x02,
    /// Ownerships of a volume.
    Epoch = 0x03,
    /// What a volume is told to do.
    Options = 0x04,
    /// Files.
    Inode = 0x10,
    /// Names.
    Dentry = 0x11,
    /// Names by insertion number.
    DentryNumber = 0x12,
    /// Data of files.
    Slice = 0x13,
    /// Targets of symlinks.
    Symlink = 0x14,
    /// Extended attributes.
    Xattr = 0x15,
    /// Names of a file beside its first.
    Link = 0x16,
    /// Files without names.
    Orphan = 0x17,
    /// Truncations whose slices are not trimmed yet.
    Cut = 0x18,
    /// Slices that no file uses any more.
    PendingDelete = 0x19,
    /// Slices that more than one place shows.
    SharedSlice = 0x1b,
    /// What lies below each directory, and what users and groups have.
    Totals = 0x1c,
    /// Ranges in which earlier slices show nothing.
    Hole = 0x1d,
    /// Files that were removed and are kept for a while.
    Trash = 0x1e,
    /// Copies of directories that are being made.
    Clone = 0x1f,
    /// A volume's position, digests and changelog bounds.
    Head = 0x80,
    /// Where blocks live on this side.
    Storage = 0x81,
    /// How far a mirror is.
    Mirror = 0x82,
    /// Last request and reply of a session's slot.
    Slot = 0x83,
    /// Slice ids that a session may commit.
    Grant = 0x84,
    /// Sessions by the nonce that opened them.
    Nonce = 0x85,
    /// Whom a mirror follows, for people and for its own node.
    MirrorInfo = 0x86,
    /// Mirrors of a volume, as its origin was told of them.
    Follower = 0x87,
    /// Who does a task of the volume.
    Claim = 0x88,
    /// The last backup of the volume's metadata.
    Backup = 0x89,
    /// Locks on files, and which sessions have some.
    Lock = 0x8a,
    /// Requests for locks that wait.
    Waiter = 0x8b,
    /// Chunks that may be worth compacting.
    Compactable = 0x8c,
    /// The cluster's identity and counters.
    Cluster = 0x90,
    /// Volumes by name.
    VolumeName = 0x91,
    /// Live sessions.
    Session = 0x92,
}

impl Table {
    /// All tables.
    const ALL: [Self; 35] = [
        Self::Counters,
        Self::Settings,
        Self::Epoch,
        Self::Options,
        Self::Inode,
        Self::Dentry,
        Self::DentryNumber,
        Self::Slice,
        Self::Symlink,
        Self::Xattr,
        Self::Link,
        Self::Orphan,
        Self::Cut,
        Self::PendingDelete,
        Self::SharedSlice,
        Self::Totals,
        Self::Hole,
        Self::Trash,
        Self::Clone,
        Self::Head,
        Self::Storage,
        Self::Mirror,
        Self::Slot,
        Self::Grant,
        Self::Nonce,
        Self::MirrorInfo,
        Self::Follower,
        Self::Claim,
        Self::Backup,
        Self::Lock,
        Self::Waiter,
        Self::Compactable,
        Self::Cluster,
        Self::VolumeName,
        Self::Session,
    ];

    /// The table with a tag, if there is one in this version.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == tag)
    }
}

/// Tags from here on are local to a cluster.
pub const FIRST_LOCAL_TAG: u8 = 0x80;
/// Bytes of volume and tag.
pub const PREFIX_BYTES: usize = 5;

/// A key under construction.
#[derive(Clone, Debug)]
pub struct Key(Vec<u8>);

impl Key {
    /// The prefix of a table.
    pub fn new(volume: VolumeId, table: Table) -> Self {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&volume.0.to_be_bytes());
        bytes.push(table as u8);
        Self(bytes)
    }

    /// Adds an 8-bit number.
    #[must_use]
    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    /// Adds a 16-bit number.
    #[must_use]
    pub fn u16(mut self, number: u16) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds a 32-bit number.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds a 64-bit number.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds bytes; nothing may follow them.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The finished key.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The first key behind all that begin with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Only a prefix of 0xff bytes has no end; the last volume is the store's own and is not
    // scanned through here.
    vec![u8::MAX; prefix.len() + 1]
}

/// Volume, tag, and the ids behind them; `None` if the key is too short to have been made here.
pub fn split(key: &[u8]) -> Option<(VolumeId, u8, &[u8])> {
    let (volume, rest) = key.split_first_chunk::<4>()?;
    let (tag, ids) = rest.split_first()?;
    Some((VolumeId(u32::from_be_bytes(*volume)), *tag, ids))
}

/// Reads big-endian numbers back from the ids of a key.
#[derive(Debug)]
pub struct Ids<'k>(pub &'k [u8]);

impl Ids<'_> {
    /// Takes an 8-bit number.
    pub fn u8(&mut self) -> Option<u8> {
        let (number, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*number)
    }

    /// Takes a 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    /// Takes a 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }
}

/// The key of a table's only row in a volume.
pub fn single(volume: VolumeId, table: Table) -> Vec<u8> {
    Key::new(volume, table).done()
}

/// The key of an ownership.
pub fn epoch(volume: VolumeId, epoch: Epoch) -> Vec<u8> {
    Key::new(volume, Table::Epoch).u16(epoch.0).done()
}

/// The key of a row of a table that is keyed by inode alone; the prefix of the other tables of
/// an inode.
pub fn by_ino(volume: VolumeId, table: Table, ino: Ino) -> Vec<u8> {
    Key::new(volume, table).u64(ino.0).done()
}

/// The key of a name.
pub fn dentry(volume: VolumeId, parent: Ino, name: &Name) -> Vec<u8> {
    Key::new(volume, Table::Dentry)
        .u64(parent.0)
        .bytes(name.as_bytes())
        .done()
}

/// The key of a name by its number.
pub fn number(volume: VolumeId, parent: Ino, number: DentryNumber) -> Vec<u8> {
    Key::new(volume, Table::DentryNumber)
        .u64(parent.0)
        .u64(number.0)
        .done()
}

/// The key of a slice.
pub fn slice(volume: VolumeId, ino: Ino, chunk: ChunkIndex, order: SliceOrder) -> Vec<u8> {
    Key::new(volume, Table::Slice)
        .u64(ino.0)
        .u32(chunk.0)
        .u64(order.0)
        .done()
}

/// The key of a hole.
pub fn hole(volume: VolumeId, ino: Ino, chunk: ChunkIndex, order: SliceOrder) -> Vec<u8> {
    Key::new(volume, Table::Hole)
        .u64(ino.0)
        .u32(chunk.0)
        .u64(order.0)
        .done()
}

/// The key of an extended attribute.
pub fn xattr(volume: VolumeId, ino: Ino, name: &[u8]) -> Vec<u8> {
    Key::new(volume, Table::Xattr).u64(ino.0).bytes(name).done()
}

/// The key of an additional name of a file.
pub fn link(volume: VolumeId, ino: Ino, parent: Ino, number: DentryNumber) -> Vec<u8> {
    Key::new(volume, Table::Link)
        .u64(ino.0)
        .u64(parent.0)
        .u64(number.0)
        .done()
}

/// The key of a truncation.
pub fn cut(volume: VolumeId, ino: Ino, order: SliceOrder) -> Vec<u8> {
    Key::new(volume, Table::Cut).u64(ino.0).u64(order.0).done()
}

/// The key of a slice that waits for its deletion.
pub fn pending_delete(volume: VolumeId, slice: SliceId) -> Vec<u8> {
    Key::new(volume, Table::PendingDelete).u64(slice.0).done()
}

/// The key of a slice that more than one place shows.
pub fn shared_slice(volume: VolumeId, slice: SliceId) -> Vec<u8> {
    Key::new(volume, Table::SharedSlice).u64(slice.0).done()
}

/// The key of a chunk that may be worth compacting.
pub fn compactable(volume: VolumeId, ino: Ino, chunk: ChunkIndex) -> Vec<u8> {
    Key::new(volume, Table::Compactable)
        .u64(ino.0)
        .u32(chunk.0)
        .done()
}

/// The kinds of rows of the trash: by file, by time, by place, and what they add up to.
pub(crate) const TRASH_BY_FILE: u8 = 0;
pub(crate) const TRASH_BY_TIME: u8 = 1;
pub(crate) const TRASH_BY_NAME: u8 = 2;
pub(crate) const TRASH_TOTALS: u8 = 3;

/// A time in a key: 12 bytes that sort as times do.
fn ordered(time: Timestamp) -> [u8; 12] {
    let seconds = time.seconds.cast_unsigned() ^ (1 << 63);
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&time.nanos.to_be_bytes());
    bytes
}

/// The key of a file in the trash.
pub fn trashed(volume: VolumeId, ino: Ino) -> Vec<u8> {
    let key = Key::new(volume, Table::Trash).u8(TRASH_BY_FILE);
    key.u64(ino.0).done()
}

/// The key of a file in the trash by when it was removed.
pub fn trash_by_time(volume: VolumeId, removed: Timestamp, ino: Ino) -> Vec<u8> {
    let key = Key::new(volume, Table::Trash).u8(TRASH_BY_TIME);
    let mut key = key.bytes(&ordered(removed)).done();
    key.extend_from_slice(&ino.0.to_be_bytes());
    key
}

/// The prefix of all that was removed from a directory.
pub fn trash_of(volume: VolumeId, parent: Ino) -> Vec<u8> {
    let key = Key::new(volume, Table::Trash).u8(TRASH_BY_NAME);
    key.u64(parent.0).done()
}

/// The prefix of all that was removed under a name.
pub fn trash_of_name(volume: VolumeId, parent: Ino, name: &Name) -> Vec<u8> {
    let mut key = trash_of(volume, parent);
    key.extend_from_slice(name.as_bytes());
    // No name has this byte, so that none is the beginning of another.
    key.push(0);
    key
}

/// The key of a file in the trash by the place that it was removed from, the latest first.
pub fn trash_by_name(
    volume: VolumeId,
    parent: Ino,
    name: &Name,
    removed: Timestamp,
    ino: Ino,
) -> Vec<u8> {
    let mut key = trash_of_name(volume, parent, name);
    key.extend(ordered(removed).map(|byte| !byte));
    key.extend_from_slice(&ino.0.to_be_bytes());
    key
}

/// The key of what the trash adds up to.
pub fn trash_totals(volume: VolumeId) -> Vec<u8> {
    Key::new(volume, Table::Trash).u8(TRASH_TOTALS).done()
}

/// The kinds of rows of totals: of directories, of users, of groups, and which have a limit.
pub(crate) const TOTALS_OF_DIRECTORY: u8 = 0;
pub(crate) const TOTALS_OF_USER: u8 = 1;
pub(crate) const TOTALS_OF_GROUP: u8 = 2;
pub(crate) const TOTALS_LIMITED: u8 = 3;

/// The key of a directory's totals.
pub fn directory_totals(volume: VolumeId, ino: Ino) -> Vec<u8> {
    let key = Key::new(volume, Table::Totals).u8(TOTALS_OF_DIRECTORY);
    key.u64(ino.0).done()
}

/// The key of a user's totals.
pub fn user_totals(volume: VolumeId, uid: u32) -> Vec<u8> {
    let key = Key::new(volume, Table::Totals).u8(TOTALS_OF_USER);
    key.u32(uid).done()
}

/// The key of a group's totals.
pub fn group_totals(volume: VolumeId, gid: u32) -> Vec<u8> {
    let key = Key::new(volume, Table::Totals).u8(TOTALS_OF_GROUP);
    key.u32(gid).done()
}

/// The prefix of the keys of all that have a limit.
pub fn all_limited(volume: VolumeId) -> Vec<u8> {
    let key = Key::new(volume, Table::Totals).u8(TOTALS_LIMITED);
    key.done()
}

/// The key that says that something has a limit. The volume's own is not among them: it comes first.
pub fn limited(volume: VolumeId, subject: Subject) -> Vec<u8> {
    let (kind, id) = match subject {
        Subject::Volume => return all_limited(volume),
        Subject::Directory(ino) => (TOTALS_OF_DIRECTORY, ino.0),
        Subject::User(uid) => (TOTALS_OF_USER, u64::from(uid)),
        Subject::Group(gid) => (TOTALS_OF_GROUP, u64::from(gid)),
    };
    let key = Key::new(volume, Table::Totals).u8(TOTALS_LIMITED);
    key.u8(kind).u64(id).done()
}

/// The key of a slot.
pub fn slot(volume: VolumeId, session: SessionId, slot: SlotIndex) -> Vec<u8> {
    Key::new(volume, Table::Slot)
        .u64(session.0)
        .u32(slot.0)
        .done()
}

/// The key of a grant: by its last id, so that a scan from an id meets its grant first.
pub fn grant(volume: VolumeId, session: SessionId, last: SliceId) -> Vec<u8> {
    Key::new(volume, Table::Grant)
        .u64(session.0)
        .u64(last.0)
        .done()
}

/// The prefix of a session's rows in a table that is keyed by session first.
pub fn by_session(volume: VolumeId, table: Table, session: SessionId) -> Vec<u8> {
    Key::new(volume, table).u64(session.0).done()
}

/// The key of a session's nonce.
pub fn nonce(volume: VolumeId, nonce: u128) -> Vec<u8> {
    Key::new(volume, Table::Nonce)
        .bytes(&nonce.to_be_bytes())
        .done()
}

/// The key of a volume's name.
pub fn volume_name(name: &str) -> Vec<u8> {
    Key::new(VolumeId::CLUSTER, Table::VolumeName)
        .bytes(name.as_bytes())
        .done()
}

/// The key of a mirror of a volume, by the mirror's name.
pub fn follower(volume: VolumeId, name: &str) -> Vec<u8> {
    Key::new(volume, Table::Follower)
        .bytes(name.as_bytes())
        .done()
}

/// The key of who does a task.
pub fn claim(volume: VolumeId, task: Task) -> Vec<u8> {
    Key::new(volume, Table::Claim).u8(task as u8).done()
}

/// The kinds of rows of locks: by file, by session, and how many a session has.
pub(crate) const LOCKS_BY_FILE: u8 = 0;
pub(crate) const LOCKS_BY_SESSION: u8 = 1;
pub(crate) const LOCKS_COUNTED: u8 = 2;

/// The prefix of the locks on a file.
pub fn locks(volume: VolumeId, ino: Ino, domain: LockDomain) -> Vec<u8> {
    by_file(volume, Table::Lock, ino, domain).done()
}

fn by_file(volume: VolumeId, table: Table, ino: Ino, domain: LockDomain) -> Key {
    let key = Key::new(volume, table).u8(LOCKS_BY_FILE);
    key.u64(ino.0).u8(domain as u8)
}

/// The key of a lock.
pub fn lock(volume: VolumeId, ino: Ino, owner: LockOwner, first: u64) -> Vec<u8> {
    let key = by_file(volume, Table::Lock, ino, owner.kind.domain());
    owned(key, owner).u64(first).done()
}

fn owned(key: Key, owner: LockOwner) -> Key {
    let key = key.u64(owner.session.0).u8(owner.kind as u8);
    key.u64(owner.number)
}

/// The key that says that a session has locks on a file.
pub fn locked(volume: VolumeId, session: SessionId, ino: Ino, domain: LockDomain) -> Vec<u8> {
    let key = Key::new(volume, Table::Lock).u8(LOCKS_BY_SESSION);
    key.u64(session.0).u64(ino.0).u8(domain as u8).done()
}

/// The prefix of the same, of all its files.
pub fn locked_files(volume: VolumeId, session: SessionId) -> Vec<u8> {
    let key = Key::new(volume, Table::Lock).u8(LOCKS_BY_SESSION);
    key.u64(session.0).done()
}

/// The key of how many locks a session has.
pub fn session_locks(volume: VolumeId, session: SessionId) -> Vec<u8> {
    let key = Key::new(volume, Table::Lock).u8(LOCKS_COUNTED);
    key.u64(session.0).done()
}

/// The prefix of a file's queue.
pub fn waiters(volume: VolumeId, ino: Ino, domain: LockDomain) -> Vec<u8> {
    by_file(volume, Table::Waiter, ino, domain).done()
}

/// The key of a place in it.
pub fn waiter(volume: VolumeId, ino: Ino, domain: LockDomain, place: u64) -> Vec<u8> {
    by_file(volume, Table::Waiter, ino, domain)
        .u64(place)
        .done()
}

/// The prefix of what a session waits for.
pub fn session_waits(volume: VolumeId, session: SessionId) -> Vec<u8> {
    let key = Key::new(volume, Table::Waiter).u8(LOCKS_BY_SESSION);
    key.u64(session.0).done()
}

/// The prefix of what an owner waits for.
pub fn owner_waits(volume: VolumeId, owner: LockOwner) -> Vec<u8> {
    let key = Key::new(volume, Table::Waiter).u8(LOCKS_BY_SESSION);
    owned(key, owner).done()
}

/// The key of one of these.
pub fn wait(volume: VolumeId, owner: LockOwner, ticket: u64) -> Vec<u8> {
    let key = Key::new(volume, Table::Waiter).u8(LOCKS_BY_SESSION);
    owned(key, owner).u64(ticket).done()
}

/// The key behind volume and tag, as records and snapshots name it: `tag | ids`.
pub fn in_volume(volume: VolumeId, tag_and_ids: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + tag_and_ids.len());
    bytes.extend_from_slice(&volume.0.to_be_bytes());
    bytes.extend_from_slice(tag_and_ids);
    bytes
}

/// The key of a session.
pub fn session(session: SessionId) -> Vec<u8> {
    by_session(VolumeId::CLUSTER, Table::Session, session)
}

/// The key of a record in the changelog family: `volume u32 | epoch u16 | seq u64`.
pub fn record(volume: VolumeId, epoch: Epoch, seq: Seq) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(14);
    bytes.extend_from_slice(&volume.0.to_be_bytes());
    bytes.extend_from_slice(&epoch.0.to_be_bytes());
    bytes.extend_from_slice(&seq.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: LockOwner = LockOwner {
        session: SessionId(7),
        kind: crate::lock::LockKind::Posix,
        number: 8,
    };
    const V: VolumeId = VolumeId(0x0102_0304);
    const REMOVED: Timestamp = Timestamp {
        seconds: 5,
        nanos: 12,
    };

    #[test]
    fn keys_have_frozen_bytes() {
        let name = Name::new(*b"n").expect("a valid name");
        let cases: [(Vec<u8>, &str); 22] = [
            (single(V, Table::Head), "0102030480"),
            (epoch(V, Epoch(5)), "01020304030005"),
            (
                by_ino(V, Table::Inode, Ino(6)),
                "01020304100000000000000006",
            ),
            (dentry(V, Ino(7), &name), "010203041100000000000000076e"),
            (
                number(V, Ino(7), DentryNumber(8)),
                "010203041200000000000000070000000000000008",
            ),
            (
                slice(V, Ino(9), ChunkIndex(10), SliceOrder(11)),
                "010203041300000000000000090000000a000000000000000b",
            ),
            (
                hole(V, Ino(9), ChunkIndex(10), SliceOrder(11)),
                "010203041d00000000000000090000000a000000000000000b",
            ),
            (single(V, Table::Options), "0102030404"),
            (trashed(V, Ino(9)), "010203041e000000000000000009"),
            (
                trash_by_time(V, REMOVED, Ino(9)),
                "010203041e0180000000000000050000000c0000000000000009",
            ),
            (
                trash_by_name(V, Ino(7), &name, REMOVED, Ino(9)),
                "010203041e0200000000000000076e007ffffffffffffffafffffff30000000000000009",
            ),
            (trash_totals(V), "010203041e03"),
            (
                grant(V, SessionId(1), SliceId(2)),
                "010203048400000000000000010000000000000002",
            ),
            (volume_name("vol"), "0000000091766f6c"),
            (claim(V, Task::Backup), "010203048801"),
            (single(V, Table::Backup), "0102030489"),
            (
                lock(V, Ino(5), OWNER, 6),
                "010203048a000000000000000005000000000000000007010000000000000008\
                 0000000000000006",
            ),
            (
                locked(V, SessionId(7), Ino(5), LockDomain::Flock),
                "010203048a010000000000000007000000000000000501",
            ),
            (
                session_locks(V, SessionId(7)),
                "010203048a020000000000000007",
            ),
            (
                waiter(V, Ino(5), LockDomain::Record, 6),
                "010203048b000000000000000005000000000000000006",
            ),
            (
                wait(V, OWNER, 6),
                "010203048b0100000000000000070100000000000000080000000000000006",
            ),
            (record(V, Epoch(1), Seq(2)), "0102030400010000000000000002"),
        ];
        for (key, expected) in cases {
            assert_eq!(crate::outcome::hex(&key), expected);
        }
    }

    #[test]
    fn keys_of_shared_slices_and_compaction_have_frozen_bytes() {
        let cases: [(Vec<u8>, &str); 3] = [
            (shared_slice(V, SliceId(9)), "010203041b0000000000000009"),
            (
                compactable(V, Ino(9), ChunkIndex(10)),
                "010203048c00000000000000090000000a",
            ),
            (claim(V, Task::Compact), "010203048802"),
        ];
        for (key, expected) in cases {
            assert_eq!(crate::outcome::hex(&key), expected);
        }
    }

    #[test]
    fn keys_of_totals_have_frozen_bytes() {
        let cases: [(Vec<u8>, &str); 4] = [
            (directory_totals(V, Ino(9)), "010203041c000000000000000009"),
            (user_totals(V, 9), "010203041c0100000009"),
            (group_totals(V, 9), "010203041c0200000009"),
            (
                limited(V, Subject::Group(9)),
                "010203041c03020000000000000009",
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(crate::outcome::hex(&key), expected);
        }
    }

    #[test]
    fn times_in_keys_sort_as_times() {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        let times = [time(-2, 5), time(-1, 0), time(0, 0), time(0, 1), time(7, 0)];
        let keys = times.map(ordered);
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(!keys.map(|key| key.map(|byte| !byte)).is_sorted());
    }

    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        assert_eq!(prefix_end(&[1, 2]), vec![1, 3]);
        assert_eq!(prefix_end(&[1, 255]), vec![2]);
        assert!(prefix_end(&[255, 255]).as_slice() > [255, 255].as_slice());
    }

    #[test]
    fn ids_come_back_from_a_key() {
        let key = slice(V, Ino(9), ChunkIndex(10), SliceOrder(11));
        let (volume, tag, ids) = split(&key).expect("long enough");
        assert_eq!((volume, tag), (V, Table::Slice as u8));
        let mut ids = Ids(ids);
        assert_eq!(
            (ids.u64(), ids.u32(), ids.u64()),
            (Some(9), Some(10), Some(11))
        );
        assert_eq!(ids.u64(), None);
    }
}
