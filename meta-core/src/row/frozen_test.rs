//! Every row format, byte for byte. Bytes here are only ever added: a stored row of any released
//! version must be read by all later ones.

use super::*;
use crate::attr::{Caller, FileKind};
use crate::digest::Digest;
use crate::ids::{
    ChunkIndex, DentryNumber, Epoch, Ino, Level, Seq, SessionId, SliceId, SliceOrder, Uuid,
    VolumeId,
};
use crate::key::{self, Table};
use crate::limits::FILE_BYTES_MAX;
use crate::lock::{LockKind, LockMode, LockOwner, LockRange};
use crate::name::Name;
use crate::outcome::{MirrorState, Refusal, StopReason, Token};
use crate::quota::{Amount, Limit};
use crate::task::{Backup, NewBackup, Task};
use std::collections::BTreeMap;

const V: VolumeId = VolumeId(7);
const T: Timestamp = Timestamp {
    seconds: 0x0102_0304_0506,
    nanos: 999_999_999,
};

/// The row has these bytes, reads back, and is not read with a bit flipped, a byte cut off, or
/// under another key.
fn frozen<R: Row + PartialEq + std::fmt::Debug>(key: &[u8], row: &R, expected: &str) {
    let bytes = row.encode(key);
    assert_eq!(hex(&bytes), expected, "{}", R::WHAT);
    assert_eq!(R::decode(key, &bytes).expect("reads back"), *row);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            R::decode(key, &flipped).is_err(),
            "bit {bit} of {}",
            R::WHAT
        );
    }
    assert!(
        R::decode(key, &bytes[..bytes.len() - 1]).is_err(),
        "cut {}",
        R::WHAT
    );
    let mut other = key.to_vec();
    other.push(1);
    assert!(R::decode(&other, &bytes).is_err(), "misplaced {}", R::WHAT);
    let mut moved = key.to_vec();
    moved[3] ^= 1;
    assert_eq!(
        R::decode(&moved, &bytes).expect("another volume's number"),
        *row
    );
}

fn inode() -> Inode {
    Inode {
        kind: FileKind::Regular,
        mode: 0o4644,
        uid: 1000,
        gid: 100,
        rdev: 0,
        nlink: 2,
        length: 5 << 32,
        atime: T,
        mtime: T.next(),
        ctime: Timestamp {
            seconds: -1,
            nanos: 1,
        },
        parent: Ino(9),
        parent_number: DentryNumber(10),
        next: 11,
        btime: None,
        holes: false,
        access_acl: false,
        default_acl: false,
    }
}

#[test]
fn inodes_of_v1_are_frozen() {
    frozen(&key::by_ino(V, Table::Inode, Ino(3)), &inode(), INODE);
}

#[test]
fn inodes_of_v2_are_frozen() {
    let made = Inode {
        btime: Some(T),
        access_acl: false,
        default_acl: false,
        ..inode()
    };
    frozen(&key::by_ino(V, Table::Inode, Ino(3)), &made, INODE_MADE);
    let holes = Inode {
        holes: true,
        ..inode()
    };
    frozen(&key::by_ino(V, Table::Inode, Ino(3)), &holes, INODE_HOLES);
    let access = Inode {
        access_acl: true,
        ..inode()
    };
    frozen(&key::by_ino(V, Table::Inode, Ino(3)), &access, INODE_ACL);
    let both = Inode {
        kind: FileKind::Directory,
        default_acl: true,
        btime: Some(T),
        ..access
    };
    frozen(&key::by_ino(V, Table::Inode, Ino(3)), &both, INODE_ACLS);
}

#[test]
fn rows_of_the_trash_are_frozen() {
    let trashed = Trashed {
        kind: FileKind::Symlink,
        removed: T,
        uid: 1000,
        parent: Ino(9),
        name: Name::new(*b"name").expect("valid"),
    };
    frozen(&key::trashed(V, Ino(3)), &trashed, TRASHED);
    let totals = TrashTotals {
        inodes: 4,
        bytes: 5 << 32,
        begin: T,
    };
    frozen(&key::trash_totals(V), &totals, TRASH_TOTALS);
    let options = Options {
        trash_seconds: 3600,
    };
    frozen(&key::single(V, Table::Options), &options, OPTIONS);
}

#[test]
fn rows_of_files_are_frozen() {
    let hole = Hole { at: 4096, len: 7 };
    let hole_key = key::hole(V, Ino(3), ChunkIndex(1), SliceOrder(6));
    frozen(&hole_key, &hole, HOLE);
    let name = Name::new(*b"name").expect("valid");
    let dentry = Dentry {
        ino: Ino(3),
        kind: FileKind::Symlink,
        number: DentryNumber(4),
    };
    frozen(&key::dentry(V, Ino(9), &name), &dentry, DENTRY);
    let named = Named {
        ino: Ino(3),
        kind: FileKind::Directory,
        name,
    };
    frozen(&key::number(V, Ino(9), DentryNumber(4)), &named, NAMED);
    let slice = SliceRow {
        id: SliceId(5),
        size: 100_000,
        off: 1,
        len: 99_000,
        at: 8,
        frame_crcs: vec![0xdead_beef, 1],
    };
    frozen(
        &key::slice(V, Ino(3), ChunkIndex(0), SliceOrder(6)),
        &slice,
        SLICE,
    );
    let cut = Cut {
        length: 77,
        chunk: ChunkIndex(1),
        order: SliceOrder(2),
    };
    frozen(&key::cut(V, Ino(3), SliceOrder(9)), &cut, CUT);
    let pending = PendingDelete {
        size: 100_000,
        since: T,
    };
    frozen(
        &key::pending_delete(V, SliceId(5)),
        &pending,
        PENDING_DELETE,
    );
    let shared = SharedSlice { rows: 3 };
    frozen(&key::shared_slice(V, SliceId(5)), &shared, SHARED_SLICE);
    frozen(
        &key::by_ino(V, Table::Symlink, Ino(3)),
        &Blob(b"target".to_vec()),
        BLOB,
    );
    frozen(
        &key::by_ino(V, Table::Orphan, Ino(3)),
        &Blob::default(),
        EMPTY,
    );
}

#[test]
fn rows_of_volumes_are_frozen() {
    let counters = Counters {
        next_ino: 1,
        next_slice: 2,
        inodes: 3,
        bytes: 4,
        orphans: 5,
        pending_slices: 6,
        pending_bytes: 7,
        quota: QuotaState::default(),
        clones: 0,
    };
    frozen(&key::single(V, Table::Counters), &counters, COUNTERS);
    let quota = QuotaState {
        counted: Ino(8),
        owners_counted: Ino(9),
        limited_directories: 10,
        limit: Limit {
            bytes: Some(11),
            inodes: None,
        },
    };
    let counters = Counters { quota, ..counters };
    frozen(&key::single(V, Table::Counters), &counters, COUNTERS_2);
    let totals = Totals {
        parent: Ino(1),
        amount: Amount {
            files: 2,
            directories: 3,
            bytes: 4,
        },
        limit: Limit::NONE,
    };
    frozen(&key::directory_totals(V, Ino(9)), &totals, TOTALS);
    let limit = Limit {
        bytes: None,
        inodes: Some(5),
    };
    let totals = Totals { limit, ..totals };
    frozen(&key::directory_totals(V, Ino(9)), &totals, LIMITED_TOTALS);
    let settings = Settings {
        uuid: Uuid([0xab; 16]),
        block_bytes: 4 << 20,
        level: Level(1),
        created: T,
        name: "vol".to_owned(),
    };
    frozen(&key::single(V, Table::Settings), &settings, SETTINGS);
    let epoch = EpochOpened {
        cluster: Uuid([0xcd; 16]),
        last: Seq(12),
    };
    frozen(&key::epoch(V, Epoch(1)), &epoch, EPOCH);
    let head = Head {
        token: Token {
            epoch: Epoch(1),
            seq: Seq(2),
        },
        record_crc: 3,
        stamp: T,
        changelog_first: Seq(1),
        changelog_bytes: 4,
        digests: BTreeMap::from([(0x10, Digest(5)), (0x11, Digest(u128::MAX))]),
    };
    frozen(&key::single(V, Table::Head), &head, HEAD);
}

#[test]
fn local_rows_are_frozen() {
    let cluster = Cluster {
        id: Uuid([0xcd; 16]),
        next_volume: 2,
        next_session: 3,
        sessions: 1,
    };
    frozen(
        &key::single(VolumeId::CLUSTER, Table::Cluster),
        &cluster,
        CLUSTER,
    );
    frozen(
        &key::volume_name("vol"),
        &VolumeRef(VolumeId(1)),
        VOLUME_REF,
    );
    frozen(&key::nonce(V, 9), &SessionRef(SessionId(1)), SESSION_REF);
    let session = Session {
        volume: V,
        slots: 64,
        nonce: 9,
        opened: T,
        info: b"{}".to_vec(),
    };
    frozen(&key::session(SessionId(1)), &session, SESSION);
    let slot = Slot {
        sequence: 4,
        reply: vec![1, 2, 3],
    };
    frozen(
        &key::slot(V, SessionId(1), crate::ids::SlotIndex(2)),
        &slot,
        SLOT,
    );
    let mirror = Mirror {
        state: MirrorState::Stopped(StopReason::WrongChain),
        uuid: Uuid([0xab; 16]),
        origin: Uuid([0xcd; 16]),
        snapshot: Token {
            epoch: Epoch(1),
            seq: Seq(2),
        },
        snapshot_crc: 3,
        stopped_at: Seq(9),
        cursor: vec![0x10, 1],
    };
    frozen(&key::single(V, Table::Mirror), &mirror, MIRROR);
    let grant = Grant { first: SliceId(5) };
    let key = key::grant(V, SessionId(1), SliceId(6));
    let bytes = grant.encode(&key);
    assert_eq!(hex(&bytes), GRANT);
    assert_eq!(Grant::decode(&key, &bytes).expect("reads back"), grant);
}

#[test]
fn rows_of_tasks_are_frozen() {
    let claim = TaskClaim {
        session: SessionId(4),
        since: T,
        until: T.next(),
    };
    frozen(&key::claim(V, Task::Backup), &claim, CLAIM);
    let backup = Backup {
        finished: T,
        made: NewBackup {
            token: Token {
                epoch: Epoch(1),
                seq: Seq(300),
            },
            bytes: 5 << 32,
            name: "meta/dump".to_owned(),
        },
    };
    frozen(&key::single(V, Table::Backup), &backup, BACKUP);
}

#[test]
fn rows_of_locks_are_frozen() {
    let owner = LockOwner {
        session: SessionId(4),
        kind: LockKind::Ofd,
        number: 0x0102_0304_0506_0708,
    };
    let lock = LockRow {
        last: 99,
        mode: LockMode::Exclusive,
        pid: 1234,
    };
    frozen(&key::lock(V, Ino(3), owner, 10), &lock, LOCK);
    let waiter = Waiter {
        owner,
        ticket: 5,
        range: LockRange { first: 6, last: 7 },
        mode: LockMode::Shared,
        pid: 1234,
    };
    let queue = key::waiter(V, Ino(3), owner.kind.domain(), 8);
    frozen(&queue, &waiter, WAITER);
    let place = WaitPlace {
        ino: Ino(3),
        place: 8,
    };
    frozen(&key::wait(V, owner, 5), &place, WAIT);
    let counted = SessionLocks {
        locks: 2,
        waiters: 1,
    };
    let key = key::session_locks(V, SessionId(4));
    frozen(&key, &counted, SESSION_LOCKS);
}

#[test]
fn a_file_longer_than_any_can_be_is_refused() {
    let key = key::by_ino(V, Table::Inode, Ino(3));
    let of_length = |length| Inode { length, ..inode() }.encode(&key);
    assert!(Inode::decode(&key, &of_length(FILE_BYTES_MAX)).is_ok());
    let refused = Inode::decode(&key, &of_length(FILE_BYTES_MAX + 1)).expect_err("too long");
    assert!(refused.to_string().contains("longer"), "{refused}");
}

#[test]
fn a_row_of_an_unknown_version_is_refused() {
    let key = key::by_ino(V, Table::Symlink, Ino(3));
    let mut bytes = Blob(b"020100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000080000000000000009000000000000000a000000000000000b00000000000000ffffffffffffffff0e965e12".to_vec()).encode(&key);
    bytes.truncate(bytes.len() - CRC_BYTES);
    bytes[0] = VERSION + 1;
    let crc = crc(&key, &bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let refused = Blob::decode(&key, &bytes).expect_err("unknown version");
    assert!(refused.to_string().contains("version"), "{refused}");
}

const INODE_MADE: &str = "02010100a4090000e803000064000000000000000200000000000000050000000605040302010000ffc99a3b070504030201000000000000ffffffffffffffff0100000009000000000000000a000000000000000b000000000000000605040302010000ffc99a3b9625aa20";
const INODE_ACL: &str = "02010400a4090000e803000064000000000000000200000000000000050000000605040302010000ffc99a3b070504030201000000000000ffffffffffffffff0100000009000000000000000a000000000000000b0000000000000000000000000000000000000072e9f210";
const INODE_ACLS: &str = "02020d00a4090000e803000064000000000000000200000000000000050000000605040302010000ffc99a3b070504030201000000000000ffffffffffffffff0100000009000000000000000a000000000000000b000000000000000605040302010000ffc99a3b93e9e638";
const INODE_HOLES: &str = "02010200a4090000e803000064000000000000000200000000000000050000000605040302010000ffc99a3b070504030201000000000000ffffffffffffffff0100000009000000000000000a000000000000000b000000000000000000000000000000000000005eb06210";
const HOLE: &str = "0100100000070000004ca83bb3";
const INODE: &str = "01010000a4090000e803000064000000000000000200000000000000050000000605040302010000ffc99a3b070504030201000000000000ffffffffffffffff0100000009000000000000000a000000000000000b00000000000000dfc06ffd";
const DENTRY: &str = "010303000000000000000400000000000000ebf0d3ba";
const NAMED: &str = "010203000000000000006e616d65441ba47e";
const SLICE: &str = "010500000000000000a086010001000000b882010008000000efbeadde010000001e9b2945";
const CUT: &str = "014d00000000000000010000000200000000000000a79b13b5";
const PENDING_DELETE: &str = "01a08601000605040302010000ffc99a3b2d2ee65e";
const SHARED_SLICE: &str = "010300000000000000df38b2cb";
const BLOB: &str = "0174617267657444bbf801";
const EMPTY: &str = "01b291d27a";
const COUNTERS: &str = "010100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000a3440418";
const COUNTERS_2: &str = "020100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000080000000000000009000000000000000a000000000000000b00000000000000ffffffffffffffff0e965e12";
const TOTALS: &str = "010100000000000000020000000000000003000000000000000400000000000000288cd2a8";
const LIMITED_TOTALS: &str = "010100000000000000020000000000000003000000000000000400000000000000ffffffffffffffff05000000000000003b286a50";
const SETTINGS: &str =
    "01abababababababababababababababab00004000010000000605040302010000ffc99a3b766f6c8434fa0a";
const EPOCH: &str = "01cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd0c00000000000000bd86121c";
const HEAD: &str = "0101000200000000000000030000000605040302010000ffc99a3b01000000000000000400000000000000100500000000000000000000000000000011ffffffffffffffffffffffffffffffff79e5f87c";
const CLUSTER: &str =
    "01cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd0200000003000000000000000100000000000000a8eea655";
const VOLUME_REF: &str = "01010000003c67ccd6";
const SESSION_REF: &str = "0101000000000000006b796417";
const SESSION: &str =
    "010700000040000000090000000000000000000000000000000605040302010000ffc99a3b7b7d74b4b22c";
const SLOT: &str = "01040000000000000001020385917317";
const MIRROR: &str = "010305ababababababababababababababababcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd010002000000000000000300000009000000000000001001b4bc13c0";
const CLAIM: &str = "0104000000000000000605040302010000ffc99a3b0705040302010000000000003ad0455a";
const BACKUP: &str =
    "010605040302010000ffc99a3b01002c0100000000000000000000050000006d6574612f64756d70bdeb5e8b";
const GRANT: &str = "0105000000000000006a3c6a6a";
const LOCK: &str = "01630000000000000001d204000022b42ce2";
const WAITER: &str = "01040000000000000002080706050403020105000000000000000600000000000000070000000000000000d20400009a0be3cb";
const WAIT: &str = "0103000000000000000800000000000000546714fc";
const SESSION_LOCKS: &str = "010200000001000000e9b5d1dc";
const TRASHED: &str = "01030605040302010000ffc99a3be803000009000000000000006e616d657e1bdec5";
const TRASH_TOTALS: &str = "01040000000000000000000000050000000605040302010000ffc99a3bce79b0bd";
const OPTIONS: &str = "01100e00000000000039969ed1";

#[test]
fn rows_of_clones_are_frozen() {
    let counters = Counters {
        next_ino: 1,
        next_slice: 2,
        inodes: 3,
        bytes: 4,
        orphans: 5,
        pending_slices: 6,
        pending_bytes: 7,
        quota: QuotaState {
            counted: Ino(8),
            owners_counted: Ino(9),
            limited_directories: 10,
            limit: Limit {
                bytes: Some(11),
                inodes: None,
            },
        },
        clones: 12,
    };
    frozen(&key::single(V, Table::Counters), &counters, COUNTERS_3);
    let job = CloneJob {
        state: CloneState::Failed(Refusal::OverQuota),
        cleared: true,
        root: Ino(1),
        source: Ino(2),
        parent: Ino(3),
        name: Name::new("copy").expect("a name"),
        caller: Caller {
            uid: 4,
            gid: 5,
            groups: vec![6, 7],
        },
        umask: 0o22,
        preserve: true,
        restarts: 2,
        mapped: 8,
        dirtied: 9,
        since: T,
    };
    frozen(&key::clone_job(V, Ino(1)), &job, CLONE_JOB);
    let copying = CloneJob {
        state: CloneState::Copying,
        cleared: false,
        caller: Caller::root(),
        preserve: false,
        ..job
    };
    frozen(&key::clone_job(V, Ino(1)), &copying, CLONE_COPYING);
    let copy = key::of_cloned(V, key::CLONE_COPY, Ino(1), Ino(2));
    frozen(&copy, &InoRef(Ino(3)), CLONE_COPY);
}

const COUNTERS_3: &str = "030100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000080000000000000009000000000000000a000000000000000b00000000000000ffffffffffffffff0c00000078a2992b";
const CLONE_JOB: &str = "0104031d0002010000000000000002000000000000000300000000000000040000000500000012000000080000000000000009000000000000000605040302010000ffc99a3b02000600000007000000636f7079f2c6140a";
const CLONE_COPYING: &str = "010100000002010000000000000002000000000000000300000000000000000000000000000012000000080000000000000009000000000000000605040302010000ffc99a3b0000636f70791603209e";
const CLONE_COPY: &str = "01030000000000000001ba17c1";
