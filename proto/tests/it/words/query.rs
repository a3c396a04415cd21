//! Queries and answers of every kind.

use super::{attr, bytes, caller, crcs, ino, kind, name, refusal, timestamp, token, uuid};
use super::{limit, lock_mode, lock_owner, lock_range, subject};
use meta_core::attr::Attr;
use meta_core::compaction::Effort;
use meta_core::ids::{
    ChunkIndex, DentryNumber, Epoch, Level, Seq, SessionId, SliceId, SliceOrder, VolumeId,
};
use meta_core::limits::{LIMITS_PAGE_MAX, READDIR_ENTRIES_MAX};
use meta_core::lock::{GetLock, HeldLock};
use meta_core::outcome::Refusal;
use meta_core::path::{Access, Links, PathEnd, PathStep, Resolve, Resolved};
use meta_core::query::{
    Answer, AskTrash, CloneStatus, DirEntry, Query, QueryBody, SessionInfo, Slice, SliceCursor,
    TrashCursor, TrashEntry, TrashStat, VolumeInfo, VolumeStat,
};
use meta_core::quota::{Amount, Room, Space, Usage};
use meta_core::row::CloneState;
use meta_core::task::{AtWork, Backup, BackupStatus};
use proptest::prelude::*;

pub(crate) fn query() -> impl Strategy<Value = Query> {
    (
        any::<u32>().prop_map(VolumeId),
        caller(),
        prop_oneof![on_files(), on_lists()],
    )
        .prop_map(|(volume, caller, body)| Query {
            volume,
            caller,
            body,
        })
}

fn on_files() -> impl Strategy<Value = QueryBody> {
    prop_oneof![
        (ino(), name()).prop_map(|(parent, name)| QueryBody::Lookup { parent, name }),
        ino().prop_map(|ino| QueryBody::GetAttr { ino }),
        prop::collection::vec(ino(), 0..9).prop_map(|inos| QueryBody::GetAttrs { inos }),
        (ino(), bytes(300), links(), prop::option::of(access())).prop_map(
            |(from, path, links, open)| QueryBody::Resolve(Resolve {
                from,
                path,
                links,
                open,
            })
        ),
        (ino(), any::<(bool, bool)>()).prop_map(|(ino, (read, write))| QueryBody::Open {
            ino,
            read,
            write
        }),
        (ino(), any::<u64>(), 0..=READDIR_ENTRIES_MAX, any::<bool>()).prop_map(
            |(ino, after, entries_max, with_attrs)| QueryBody::ReadDir {
                ino,
                after: DentryNumber(after),
                entries_max,
                with_attrs,
            }
        ),
        ino().prop_map(|ino| QueryBody::ReadLink { ino }),
        (ino(), cursor(), any::<u32>()).prop_map(|(ino, from, end)| QueryBody::ReadSlices {
            ino,
            from,
            end: ChunkIndex(end)
        }),
        (ino(), bytes(255)).prop_map(|(ino, name)| QueryBody::GetXattr { ino, name }),
        ino().prop_map(|ino| QueryBody::ListXattr { ino }),
        ino().prop_map(|ino| QueryBody::PathOf { ino }),
        ask_trash().prop_map(QueryBody::Trash),
        subject().prop_map(QueryBody::Usage),
        prop::collection::vec(ino(), 0..9).prop_map(|inos| QueryBody::Amounts { inos }),
        (prop::option::of(subject()), 0..=LIMITS_PAGE_MAX)
            .prop_map(|(after, count_max)| QueryBody::Limits { after, count_max }),
        ino().prop_map(|ino| QueryBody::Space { ino }),
        Just(QueryBody::Clones),
        (ino(), any::<u32>(), any::<u32>()).prop_map(|(ino, chunk, count_max)| {
            QueryBody::Compactable {
                after: (ino, ChunkIndex(chunk)),
                count_max,
            }
        }),
        (ino(), any::<u32>(), any::<bool>()).prop_map(|(ino, chunk, all)| {
            QueryBody::PlanCompaction {
                ino,
                chunk: ChunkIndex(chunk),
                effort: if all { Effort::All } else { Effort::Enough },
            }
        }),
        (ino(), lock_owner(), lock_range(), lock_mode()).prop_map(|(ino, owner, range, mode)| {
            QueryBody::GetLock(GetLock {
                ino,
                owner,
                range,
                mode,
            })
        }),
    ]
}

fn ask_trash() -> impl Strategy<Value = AskTrash> {
    let after = (name(), timestamp(), ino());
    let after = after.prop_map(|(name, removed, ino)| TrashCursor { name, removed, ino });
    let (name, after) = (prop::option::of(name()), prop::option::of(after));
    prop_oneof![
        ino().prop_map(AskTrash::File),
        (ino(), name, after, 0..=READDIR_ENTRIES_MAX).prop_map(
            |(parent, name, after, count_max)| AskTrash::Of {
                parent,
                name,
                after,
                count_max,
            }
        ),
    ]
}

fn trash_entry() -> impl Strategy<Value = TrashEntry> {
    (ino(), name(), timestamp(), any::<u32>(), attr()).prop_map(
        |(parent, name, removed, uid, attr)| TrashEntry {
            parent,
            name,
            removed,
            uid,
            attr,
        },
    )
}

fn trash_stat() -> impl Strategy<Value = Option<TrashStat>> {
    let stat = (any::<(u64, u64, u64)>(), prop::option::of(timestamp()));
    let stat = stat.prop_map(|((seconds, inodes, bytes), oldest)| TrashStat {
        seconds,
        inodes,
        bytes,
        oldest,
    });
    prop::option::of(stat)
}

fn links() -> impl Strategy<Value = Links> {
    prop::sample::select(vec![Links::Stop, Links::Above, Links::All])
}

fn access() -> impl Strategy<Value = Access> {
    any::<(bool, bool)>().prop_map(|(read, write)| Access { read, write })
}

fn resolved() -> impl Strategy<Value = Resolved> {
    let step = (ino(), prop::option::of(name()), attr());
    let step = step.prop_map(|(parent, name, attr)| PathStep { parent, name, attr });
    let end = prop_oneof![
        Just(PathEnd::Reached),
        (bytes(300), bytes(300)).prop_map(|(target, rest)| PathEnd::Symlink { target, rest }),
        bytes(300).prop_map(|rest| PathEnd::Above { rest }),
        (refusal(), bytes(300)).prop_map(|(refusal, rest)| PathEnd::Refused { refusal, rest }),
    ];
    (attr(), prop::collection::vec(step, 0..5), end).prop_map(|(directory, steps, end)| Resolved {
        directory,
        steps,
        end,
    })
}

fn attrs() -> impl Strategy<Value = Vec<Result<Attr, Refusal>>> {
    let each = prop_oneof![attr().prop_map(Ok), refusal().prop_map(Err)];
    prop::collection::vec(each, 0..5)
}

fn on_lists() -> impl Strategy<Value = QueryBody> {
    let page = || (ino(), any::<u32>());
    prop_oneof![
        Just(QueryBody::StatVolume),
        Just(QueryBody::Followers),
        Just(QueryBody::Backup),
        "[a-z0-9-]{1,63}".prop_map(|name| QueryBody::FindVolume { name }),
        page().prop_map(|(after, count_max)| QueryBody::Orphans { after, count_max }),
        page().prop_map(|(after, count_max)| QueryBody::Cuts { after, count_max }),
        page().prop_map(|(after, count_max)| QueryBody::Sessions {
            after: SessionId(after.0),
            count_max,
        }),
        any::<(u32, u32)>().prop_map(|(after, count_max)| QueryBody::Volumes {
            after: VolumeId(after),
            count_max,
        }),
    ]
}

fn cursor() -> impl Strategy<Value = SliceCursor> {
    any::<(u32, u64)>().prop_map(|(chunk, order)| SliceCursor {
        chunk: ChunkIndex(chunk),
        order: SliceOrder(order),
    })
}

pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    let names = || prop::collection::vec(name(), 0..5);
    prop_oneof![
        attr().prop_map(Answer::Attr),
        (ino(), prop::collection::vec(entry(), 0..5), any::<bool>()).prop_map(
            |(parent, entries, end)| Answer::Entries {
                parent,
                entries,
                end
            }
        ),
        bytes(300).prop_map(Answer::Bytes),
        (
            attr(),
            prop::collection::vec(slice(), 0..5),
            prop::option::of(cursor())
        )
            .prop_map(|(attr, slices, next)| Answer::Slices { attr, slices, next }),
        prop::collection::vec(bytes(255), 0..5).prop_map(Answer::Names),
        stat().prop_map(Answer::Stat),
        names().prop_map(Answer::Path),
        volume().prop_map(Answer::Volume),
        prop::collection::vec(volume(), 0..4).prop_map(Answer::Volumes),
        prop::collection::vec(ino(), 0..9).prop_map(Answer::Inodes),
        prop::collection::vec(session(), 0..4).prop_map(Answer::Sessions),
        backup_status().prop_map(Answer::Backup),
        resolved().prop_map(Answer::Resolved),
        attrs().prop_map(Answer::Attrs),
        (prop::collection::vec(trash_entry(), 0..5), any::<bool>())
            .prop_map(|(entries, end)| Answer::Trash { entries, end }),
        prop::option::of(held_lock()).prop_map(Answer::Lock),
        usage().prop_map(Answer::Usage),
        prop::collection::vec(
            prop_oneof![amount().prop_map(Ok), refusal().prop_map(Err)],
            0..5
        )
        .prop_map(Answer::Amounts),
        (prop::collection::vec(usage(), 0..5), any::<bool>())
            .prop_map(|(limits, end)| Answer::Limits { limits, end }),
        prop::collection::vec((ino(), any::<u32>().prop_map(ChunkIndex)), 0..5)
            .prop_map(Answer::Chunks),
        prop::collection::vec(slice(), 0..4).prop_map(Answer::Compaction),
        prop::collection::vec(clone_status(), 0..4).prop_map(Answer::Clones),
        (room(), room()).prop_map(|(bytes, inodes)| Answer::Space(Space { bytes, inodes })),
    ]
}

fn clone_status() -> impl Strategy<Value = CloneStatus> {
    let state = prop_oneof![
        Just(CloneState::Copying),
        Just(CloneState::Again),
        Just(CloneState::Attached),
        refusal().prop_map(CloneState::Failed),
    ];
    let files = (ino(), ino(), ino(), name());
    (files, state, any::<(u32, bool, u64)>(), timestamp()).prop_map(
        |((job, source, parent, name), state, (uid, is_at_work, files), since)| CloneStatus {
            job,
            source,
            parent,
            name,
            uid,
            state,
            is_at_work,
            files,
            since,
        },
    )
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<(u64, u64, u64)>().prop_map(|(files, directories, bytes)| Amount {
        files,
        directories,
        bytes,
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    (subject(), amount(), limit(), any::<bool>()).prop_map(
        |(subject, amount, limit, is_counted)| Usage {
            subject,
            amount,
            limit,
            is_counted,
        },
    )
}

fn room() -> impl Strategy<Value = Option<Room>> {
    prop::option::of(any::<(u64, u64)>().prop_map(|(limit, used)| Room { limit, used }))
}

fn held_lock() -> impl Strategy<Value = HeldLock> {
    (lock_owner(), lock_range(), lock_mode(), any::<u32>()).prop_map(|(owner, range, mode, pid)| {
        HeldLock {
            owner,
            range,
            mode,
            pid,
        }
    })
}

fn backup_status() -> impl Strategy<Value = BackupStatus> {
    let last = (timestamp(), super::backup());
    let last = last.prop_map(|(finished, made)| Backup { finished, made });
    let at_work = (any::<u64>(), timestamp()).prop_map(|(session, since)| AtWork {
        session: SessionId(session),
        since,
    });
    (prop::option::of(last), prop::option::of(at_work))
        .prop_map(|(last, at_work)| BackupStatus { last, at_work })
}

fn entry() -> impl Strategy<Value = DirEntry> {
    (
        any::<u64>(),
        name(),
        ino(),
        kind(),
        prop::option::of(attr()),
    )
        .prop_map(|(number, name, ino, kind, attr)| DirEntry {
            number: DentryNumber(number),
            name,
            ino,
            kind,
            attr,
        })
}

fn slice() -> impl Strategy<Value = Slice> {
    (cursor(), any::<u64>(), any::<[u32; 4]>(), crcs()).prop_map(
        |(cursor, id, [size, off, len, at], frame_crcs)| Slice {
            chunk: cursor.chunk,
            order: cursor.order,
            id: SliceId(id),
            size,
            off,
            len,
            at,
            frame_crcs,
        },
    )
}

fn stat() -> impl Strategy<Value = VolumeStat> {
    let rest = ("[0-9a-f]{32}", token(), trash_stat(), any::<[bool; 2]>());
    (any::<[u64; 7]>(), rest).prop_map(
        |(numbers, (digest, token, trash, [is_counting, is_limited]))| {
            let [
                inodes,
                bytes,
                delete_bytes,
                delete_slices,
                orphans,
                changelog,
                first,
            ] = numbers;
            VolumeStat {
                inodes,
                bytes,
                pending_delete_bytes: delete_bytes,
                pending_delete_slices: delete_slices,
                orphans,
                trash,
                is_counting,
                is_limited,
                changelog_bytes: changelog,
                changelog_first: Seq(first),
                digest,
                token,
            }
        },
    )
}

fn volume() -> impl Strategy<Value = VolumeInfo> {
    let opener = (any::<u16>().prop_map(Epoch), uuid());
    let epochs = prop::collection::vec(opener, 0..4);
    (
        any::<[u32; 3]>(),
        "[a-z0-9-]{1,63}",
        uuid(),
        uuid(),
        epochs,
        bytes(100),
    )
        .prop_map(
            |([id, block_bytes, level], name, uuid, opened_by, epochs, storage)| VolumeInfo {
                id: VolumeId(id),
                name,
                uuid,
                opened_by,
                epochs,
                block_bytes,
                level: Level(level),
                storage,
            },
        )
}

fn session() -> impl Strategy<Value = SessionInfo> {
    (any::<(u64, u32)>(), timestamp(), bytes(100)).prop_map(|((id, volume), opened, info)| {
        SessionInfo {
            id: SessionId(id),
            volume: VolumeId(volume),
            opened,
            info,
        }
    })
}
