//! Commands of every kind.

use super::{bytes, caller, crcs, ino, kind, name, timestamp, uuid};
use super::{limit, lock_kind, lock_mode, lock_range, subject};
use meta_core::command::{
    Append, AppendSlice, CloneTree, Command, CommandBody, Commit, CopyRange, Create, CreateVolume,
    Existing, Fallocate, FallocateMode, NewNode, NewSlice, Operation, RenameMode, Request, SetAttr,
    SetTime, XattrMode,
};
use meta_core::compaction::Compact;
use meta_core::ids::{ChunkIndex, Level, Seq, SessionId, SliceId, SliceOrder, SlotIndex, VolumeId};
use meta_core::limits;
use meta_core::lock::{LockRequest, UnlockRequest};
use meta_core::task::Task;
use proptest::prelude::*;

pub(crate) fn command() -> impl Strategy<Value = Command> {
    (any::<u32>().prop_map(VolumeId), timestamp(), body()).prop_map(|(volume, stamp, body)| {
        Command {
            volume,
            stamp,
            read_level: Level(0),
            body,
        }
    })
}

fn body() -> impl Strategy<Value = CommandBody> {
    let session = || any::<u64>().prop_map(SessionId);
    prop_oneof![
        1 => uuid().prop_map(|cluster| CommandBody::InitCluster { cluster }),
        1 => ("[a-z0-9-]{1,63}", uuid(), 0..=limits::BLOCK_BYTES_MAX, bytes(100)).prop_map(
            |(name, uuid, block_bytes, storage)| {
                CommandBody::CreateVolume(CreateVolume { name, uuid, block_bytes, storage })
            }
        ),
        1 => (any::<u128>(), 0..=limits::SLOTS_PER_SESSION_MAX, bytes(100))
            .prop_map(|(nonce, slots, info)| CommandBody::OpenSession { nonce, slots, info }),
        1 => session().prop_map(|session| CommandBody::CloseSession { session }),
        1 => prop::collection::vec(session(), 0..9)
            .prop_map(|sessions| CommandBody::ExpireSessions { sessions }),
        10 => request().prop_map(CommandBody::Request),
        1 => (ino(), 0..=limits::MAINTENANCE_ROWS_MAX)
            .prop_map(|(ino, rows_max)| CommandBody::Reap { ino, rows_max }),
        1 => (prop::collection::vec(ino(), 0..9), 0..=limits::MAINTENANCE_ROWS_MAX)
            .prop_map(|(inos, rows_max)| CommandBody::ReapFiles { inos, rows_max }),
        1 => (timestamp(), 0..=limits::TRASH_ENTRIES_MAX as u32)
            .prop_map(|(before, files_max)| CommandBody::PurgeTrash { before, files_max }),
        1 => (caller(), any::<u64>()).prop_map(|(caller, trash_seconds)| CommandBody::SetOptions { caller, trash_seconds }),
        1 => (caller(), subject(), limit()).prop_map(|(caller, subject, limit)| {
            CommandBody::SetQuota { caller, subject, limit }
        }),
        1 => (0..=limits::COUNT_FILES_MAX as u32)
            .prop_map(|files_max| CommandBody::CountFiles { files_max }),
        1 => clone_step(),
        1 => (ino(), 0..=limits::MAINTENANCE_ROWS_MAX)
            .prop_map(|(ino, rows_max)| CommandBody::Trim { ino, rows_max }),
        1 => any::<u64>().prop_map(|seq| CommandBody::TrimChangelog { keep_from: Seq(seq) }),
        1 => any::<u32>().prop_map(|level| CommandBody::RaiseLevel { level: Level(level) }),
        4 => super::mirror::command(),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    (any::<(u64, u32, u64)>(), caller(), operation()).prop_map(
        |((session, slot, sequence), caller, operation)| Request {
            session: SessionId(session),
            slot: SlotIndex(slot),
            sequence,
            caller,
            operation,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        create().prop_map(Operation::Create),
        link(),
        (ino(), name()).prop_map(|(parent, name)| Operation::Unlink { parent, name }),
        (ino(), name()).prop_map(|(parent, name)| Operation::Rmdir { parent, name }),
        (ino(), prop::collection::vec(name(), 0..9), any::<bool>()).prop_map(
            |(parent, names, skip_trash)| Operation::RemoveEntries {
                parent,
                names,
                skip_trash,
            }
        ),
        (ino(), prop::collection::vec((ino(), name()), 0..9))
            .prop_map(|(parent, files)| Operation::Restore { parent, files }),
        prop::collection::vec(ino(), 0..9).prop_map(|inos| Operation::EmptyTrash { inos }),
        rename(),
        set_attr().prop_map(Operation::SetAttr),
        commit().prop_map(Operation::Commit),
        append().prop_map(Operation::Append),
        (ino(), any::<(u64, u64, bool)>()).prop_map(|(ino, (offset, len, zero))| {
            let mode = [FallocateMode::Punch, FallocateMode::Zero][usize::from(zero)];
            Operation::Fallocate(Fallocate {
                ino,
                offset,
                len,
                mode,
            })
        }),
        copy_range().prop_map(Operation::CopyRange),
        clone_tree().prop_map(Operation::Clone),
        ino().prop_map(|job| Operation::CancelClone { job }),
        compact().prop_map(Operation::Compact),
        prop::collection::vec((ino(), timestamp()), 0..5)
            .prop_map(|files| Operation::Accessed { files }),
        (ino(), bytes(255), bytes(300), xattr_mode()).prop_map(|(ino, name, value, mode)| {
            Operation::SetXattr {
                ino,
                name,
                value,
                mode,
            }
        }),
        (ino(), bytes(255)).prop_map(|(ino, name)| Operation::RemoveXattr { ino, name }),
        (0..=limits::GRANT_SLICES_MAX).prop_map(|count| Operation::GrantSlices { count }),
        (task(), any::<u64>())
            .prop_map(|(task, interval_ms)| Operation::ClaimTask { task, interval_ms }),
        task().prop_map(|task| Operation::ReleaseTask { task }),
        super::backup().prop_map(Operation::FinishBackup),
        lock().prop_map(Operation::Lock),
        (ino(), lock_kind(), any::<u64>(), lock_range()).prop_map(|(ino, kind, owner, range)| {
            Operation::Unlock(UnlockRequest {
                ino,
                kind,
                owner,
                range,
            })
        }),
        (lock_kind(), any::<(u64, u64)>()).prop_map(|(kind, (owner, ticket))| {
            Operation::CancelLock {
                kind,
                owner,
                ticket,
            }
        }),
    ]
}

fn lock() -> impl Strategy<Value = LockRequest> {
    let wait = prop::option::of(any::<u64>());
    let numbers = any::<(u64, u32)>();
    (ino(), lock_kind(), numbers, lock_range(), lock_mode(), wait).prop_map(
        |(ino, kind, (owner, pid), range, mode, wait)| LockRequest {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
            wait,
        },
    )
}

fn create() -> impl Strategy<Value = Create> {
    let node = prop_oneof![
        Just(NewNode::Regular),
        Just(NewNode::Directory),
        bytes(100).prop_map(|target| NewNode::Symlink { target }),
        (kind(), any::<u32>()).prop_map(|(kind, rdev)| NewNode::Special { kind, rdev }),
    ];
    let existing = prop_oneof![
        Just(Existing::Refuse),
        any::<(bool, bool)>().prop_map(|(read, write)| Existing::Open { read, write }),
    ];
    (ino(), name(), any::<[u32; 2]>(), node, existing).prop_map(
        |(parent, name, [mode, masked], node, existing)| Create {
            parent,
            name,
            mode,
            masked,
            node,
            existing,
        },
    )
}

fn rename() -> impl Strategy<Value = Operation> {
    let mode = prop_oneof![
        Just(RenameMode::Replace),
        Just(RenameMode::NoReplace),
        Just(RenameMode::Exchange),
    ];
    (ino(), name(), ino(), name(), mode).prop_map(|(parent, name, new_parent, new_name, mode)| {
        Operation::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode,
        }
    })
}

fn set_attr() -> impl Strategy<Value = SetAttr> {
    let time = || {
        prop::option::of(prop_oneof![
            Just(SetTime::Now),
            timestamp().prop_map(SetTime::At)
        ])
    };
    let number = || prop::option::of(any::<u32>());
    let numbers = (number(), number(), number(), prop::option::of(any::<u64>()));
    (ino(), numbers, time(), time(), any::<[bool; 3]>()).prop_map(
        |(
            ino,
            (mode, uid, gid, length),
            atime,
            mtime,
            [by_handle, drop_privilege_bits, grow_only],
        )| SetAttr {
            ino,
            mode,
            uid,
            gid,
            length,
            atime,
            mtime,
            by_handle,
            drop_privilege_bits,
            grow_only,
        },
    )
}

fn new_slices() -> impl Strategy<Value = Vec<NewSlice>> {
    let slice =
        (any::<(u32, u32, u64, u32)>(), crcs()).prop_map(|((chunk, at, id, len), frame_crcs)| {
            NewSlice {
                chunk: ChunkIndex(chunk),
                at,
                id: SliceId(id),
                len,
                frame_crcs,
            }
        });
    prop::collection::vec(slice, 0..4)
}

fn commit() -> impl Strategy<Value = Commit> {
    (ino(), new_slices(), prop::option::of(timestamp())).prop_map(|(ino, slices, mtime)| Commit {
        ino,
        slices,
        mtime,
    })
}

fn task() -> impl Strategy<Value = Task> {
    prop::sample::select(Task::ALL.to_vec())
}

fn link() -> impl Strategy<Value = Operation> {
    (ino(), ino(), name()).prop_map(|(ino, parent, name)| Operation::Link { ino, parent, name })
}

fn clone_step() -> impl Strategy<Value = CommandBody> {
    let place = prop::option::of((ino(), name()));
    (ino(), any::<(u32, bool)>(), place).prop_map(|(job, (rows_max, copies), attach)| {
        CommandBody::CloneStep {
            job,
            rows_max,
            copies,
            attach,
        }
    })
}

fn clone_tree() -> impl Strategy<Value = CloneTree> {
    let numbers = any::<(bool, u32, u32)>();
    (ino(), ino(), name(), numbers).prop_map(
        |(source, parent, name, (preserve, umask, rows_max))| CloneTree {
            source,
            parent,
            name,
            preserve,
            umask,
            rows_max,
        },
    )
}

fn copy_range() -> impl Strategy<Value = CopyRange> {
    (ino(), ino(), any::<(u64, u64, u64)>()).prop_map(|(from, to, (offset, to_offset, len))| {
        CopyRange {
            from,
            offset,
            to,
            to_offset,
            len,
        }
    })
}

fn compact() -> impl Strategy<Value = Compact> {
    (ino(), any::<(u32, u64, u64, u128)>(), new_slices()).prop_map(
        |(ino, (chunk, first, last, seen), slices)| Compact {
            ino,
            chunk: ChunkIndex(chunk),
            first: SliceOrder(first),
            last: SliceOrder(last),
            seen,
            slices,
        },
    )
}

fn append() -> impl Strategy<Value = Append> {
    let slice = (any::<(u64, u32)>(), crcs()).prop_map(|((id, len), frame_crcs)| AppendSlice {
        id: SliceId(id),
        len,
        frame_crcs,
    });
    (ino(), prop::collection::vec(slice, 0..4)).prop_map(|(ino, slices)| Append { ino, slices })
}

fn xattr_mode() -> impl Strategy<Value = XattrMode> {
    prop_oneof![
        Just(XattrMode::Set),
        Just(XattrMode::Create),
        Just(XattrMode::Replace)
    ]
}
