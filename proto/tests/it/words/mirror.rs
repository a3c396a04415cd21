//! What a mirror is told.

use super::{bytes, timestamp, token, uuid};
use meta_core::changelog::SealedRecord;
use meta_core::command::{CommandBody, CreateMirror, LoadRows, MirrorStep};
use meta_core::ids::Seq;
use meta_core::outcome::{MirrorState, StopReason};
use proptest::prelude::*;

pub(crate) fn state() -> impl Strategy<Value = MirrorState> {
    prop_oneof![
        Just(MirrorState::Loading),
        Just(MirrorState::Following),
        Just(MirrorState::Restoring),
        reason().prop_map(MirrorState::Stopped),
    ]
}

fn reason() -> impl Strategy<Value = StopReason> {
    (1..=13_u8).prop_map(|number| StopReason::from_number(number).expect("a reason"))
}

fn step() -> impl Strategy<Value = MirrorStep> {
    let record = (any::<u32>(), bytes(40)).prop_map(|(crc, body)| SealedRecord { crc, body });
    let rows = prop::collection::vec((bytes(20), bytes(40)), 0..9);
    prop_oneof![
        (token(), any::<(u32, bool)>()).prop_map(|(snapshot, (record_crc, again))| {
            MirrorStep::BeginLoad {
                snapshot,
                record_crc,
                again,
            }
        }),
        (bytes(20), bytes(20), rows).prop_map(|(after, through, rows)| {
            MirrorStep::Load(LoadRows {
                after,
                through,
                rows,
            })
        }),
        (timestamp(), any::<u128>())
            .prop_map(|(stamp, digest)| MirrorStep::EndLoad { stamp, digest }),
        prop::collection::vec(record, 0..9).prop_map(MirrorStep::Apply),
        (reason(), any::<u64>()).prop_map(|(reason, at)| MirrorStep::Stop {
            reason,
            at: Seq(at)
        }),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = CommandBody> {
    let name = || "[a-z0-9-]{1,63}";
    let create = (name(), uuid(), uuid(), bytes(50), bytes(50)).prop_map(
        |(name, uuid, origin, storage, info)| {
            CommandBody::CreateMirror(CreateMirror {
                name,
                uuid,
                origin,
                storage,
                info,
            })
        },
    );
    prop_oneof![
        1 => Just(CommandBody::Mark),
        1 => (name(), bytes(50)).prop_map(|(name, info)| CommandBody::NoteFollower { name, info }),
        1 => create,
        4 => step().prop_map(CommandBody::Mirror),
    ]
}
