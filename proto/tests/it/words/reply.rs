//! Replies and records of every kind.

use super::{attr, bytes, ino, refusal, timestamp, token, uuid};
use meta_core::changelog::{Record, RecordKind, RowChange};
use meta_core::ids::{Epoch, Level, Seq, SessionId, SliceId, VolumeId};
use meta_core::lock::{LockState, Woken};
use meta_core::outcome::{NotExecuted, Outcome, Removal, Reply, Success};
use meta_core::task::Claim;
use proptest::prelude::*;

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let outcome = prop_oneof![
        6 => success().prop_map(Outcome::Done),
        1 => refusal().prop_map(Outcome::Refused),
        1 => not_executed().prop_map(Outcome::NotExecuted),
    ];
    (token(), timestamp(), outcome).prop_map(|(token, stamp, outcome)| Reply {
        token,
        stamp,
        outcome,
    })
}

fn not_executed() -> impl Strategy<Value = NotExecuted> {
    prop_oneof![
        Just(NotExecuted::UnknownSession),
        any::<u64>().prop_map(|last| NotExecuted::SlotMisordered { last }),
        Just(NotExecuted::WrongVolume),
    ]
}

fn success() -> impl Strategy<Value = Success> {
    prop_oneof![
        Just(Success::Done),
        attr().prop_map(Success::Attr),
        (attr(), any::<bool>()).prop_map(|(attr, created)| Success::Entry { attr, created }),
        (ino(), any::<u32>()).prop_map(|(ino, nlink)| Success::Removed { ino, nlink }),
        prop::collection::vec(removal(), 0..9).prop_map(Success::RemovedEntries),
        prop::collection::vec(prop::option::of(refusal()), 0..9).prop_map(Success::Restored),
        (ino(), prop::option::of((ino(), any::<u32>())))
            .prop_map(|(ino, replaced)| Success::Renamed { ino, replaced }),
        (any::<u64>(), attr()).prop_map(|(offset, attr)| Success::Appended { offset, attr }),
        (any::<u64>(), attr()).prop_map(|(next, attr)| Success::Fallocated { next, attr }),
        (any::<u64>(), attr()).prop_map(|(len, attr)| Success::Copied { len, attr }),
        (ino(), any::<bool>()).prop_map(|(job, done)| Success::Cloning { job, done }),
        any::<(u64, u32)>().prop_map(|(first, count)| Success::Granted {
            first: SliceId(first),
            count
        }),
        any::<u64>().prop_map(|session| Success::Session(SessionId(session))),
        any::<u32>().prop_map(|volume| Success::Volume(VolumeId(volume))),
        super::mirror::state().prop_map(Success::Mirrored),
        claim().prop_map(Success::Claimed),
        (lock_state(), woken()).prop_map(|(state, woken)| Success::Locked { state, woken }),
        woken().prop_map(Success::Unlocked),
        any::<bool>().prop_map(|waited| Success::LockCancelled { waited }),
        any::<(u32, bool)>().prop_map(|(rows, more)| Success::Maintained { rows, more }),
    ]
}

fn lock_state() -> impl Strategy<Value = LockState> {
    prop::sample::select(vec![
        LockState::Granted,
        LockState::Waiting,
        LockState::Conflict,
        LockState::Deadlock,
    ])
}

fn woken() -> impl Strategy<Value = Vec<Woken>> {
    let one = any::<(u64, u64, bool)>().prop_map(|(session, ticket, granted)| Woken {
        session: SessionId(session),
        ticket,
        granted,
    });
    prop::collection::vec(one, 0..5)
}

fn removal() -> impl Strategy<Value = Removal> {
    prop_oneof![
        any::<u32>().prop_map(|nlink| Removal::Removed { nlink }),
        refusal().prop_map(Removal::Refused),
    ]
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        (timestamp(), any::<u64>()).prop_map(|(at, lease_ms)| Claim::Given { at, lease_ms }),
        any::<u64>().prop_map(|retry_ms| Claim::Held { retry_ms }),
        any::<u64>().prop_map(|retry_ms| Claim::NotDue { retry_ms }),
    ]
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let change = (
        any::<u8>(),
        bytes(40),
        prop::option::of(any::<u128>()),
        prop::option::of(bytes(300)),
    )
        .prop_map(|(table, key, old_hash, new)| RowChange {
            table,
            key,
            old_hash,
            new,
        });
    let numbers = any::<(u16, u64, u32, u32)>();
    (
        uuid(),
        uuid(),
        numbers,
        timestamp(),
        prop::collection::vec(change, 0..6),
    )
        .prop_map(
            |(cluster, volume, (epoch, seq, level, previous_crc), stamp, changes)| Record {
                cluster,
                volume,
                epoch: Epoch(epoch),
                seq: Seq(seq),
                level: Level(level),
                previous_crc,
                kind: if level % 2 == 0 {
                    RecordKind::Change
                } else {
                    RecordKind::Mark
                },
                stamp,
                changes,
            },
        )
}
