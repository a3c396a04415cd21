//! Strategies that make every word of the engine.

pub(crate) mod command;
pub(crate) mod mirror;
pub(crate) mod query;
pub(crate) mod reply;

use meta_core::attr::{Attr, Caller, FileKind, Timestamp};
use meta_core::ids::{Epoch, Ino, Seq, SessionId, Uuid};
use meta_core::lock::{LockKind, LockMode, LockOwner, LockRange};
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Token};
use meta_core::quota::{Limit, Subject};
use meta_core::task::NewBackup;
use proptest::prelude::*;

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

pub(crate) fn ino() -> impl Strategy<Value = Ino> {
    any::<u64>().prop_map(Ino)
}

pub(crate) fn uuid() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid)
}

pub(crate) fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=max)
}

pub(crate) fn crcs() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..20)
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    prop::collection::vec(1..=255_u8, 1..=255)
        .prop_filter_map("not a name", |bytes| Name::new(bytes).ok())
}

pub(crate) fn kind() -> impl Strategy<Value = FileKind> {
    (1..=7_u8).prop_map(|number| FileKind::from_number(number).expect("1 to 7 are kinds"))
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    (1..=34_u16).prop_map(|number| Refusal::from_number(number).expect("1 to 34 are refusals"))
}

pub(crate) fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Volume),
        ino().prop_map(Subject::Directory),
        any::<u32>().prop_map(Subject::User),
        any::<u32>().prop_map(Subject::Group),
    ]
}

pub(crate) fn limit() -> impl Strategy<Value = Limit> {
    any::<(Option<u64>, Option<u64>)>().prop_map(|(bytes, inodes)| Limit { bytes, inodes })
}

pub(crate) fn backup() -> impl Strategy<Value = NewBackup> {
    (token(), any::<u64>(), "[a-z0-9-]{0,255}").prop_map(|(token, bytes, name)| NewBackup {
        token,
        bytes,
        name,
    })
}

pub(crate) fn lock_kind() -> impl Strategy<Value = LockKind> {
    prop::sample::select(LockKind::ALL.to_vec())
}

pub(crate) fn lock_mode() -> impl Strategy<Value = LockMode> {
    prop::sample::select(vec![LockMode::Shared, LockMode::Exclusive])
}

pub(crate) fn lock_range() -> impl Strategy<Value = LockRange> {
    any::<(u64, u64)>().prop_map(|(first, last)| LockRange { first, last })
}

pub(crate) fn lock_owner() -> impl Strategy<Value = LockOwner> {
    (any::<(u64, u64)>(), lock_kind()).prop_map(|((session, number), kind)| LockOwner {
        session: SessionId(session),
        kind,
        number,
    })
}

pub(crate) fn token() -> impl Strategy<Value = Token> {
    any::<(u16, u64)>().prop_map(|(epoch, seq)| Token {
        epoch: Epoch(epoch),
        seq: Seq(seq),
    })
}

pub(crate) fn caller() -> impl Strategy<Value = Caller> {
    (
        any::<u32>(),
        any::<u32>(),
        prop::collection::vec(any::<u32>(), 0..5),
    )
        .prop_map(|(uid, gid, groups)| Caller { uid, gid, groups })
}

pub(crate) fn attr() -> impl Strategy<Value = Attr> {
    let numbers = (ino(), kind(), any::<[u32; 5]>(), any::<u64>(), ino());
    let made = prop::option::of(timestamp());
    let times = (timestamp(), timestamp(), timestamp(), made);
    (numbers, times).prop_map(
        |((ino, kind, numbers, length, parent), (atime, mtime, ctime, btime))| {
            let [mode, uid, gid, rdev, nlink] = numbers;
            Attr {
                ino,
                kind,
                mode,
                uid,
                gid,
                rdev,
                nlink,
                length,
                atime,
                mtime,
                ctime,
                parent,
                btime,
                access_acl: nlink % 2 == 1,
                default_acl: nlink % 3 == 1,
            }
        },
    )
}
