//! Commands that somebody else encoded, applied to a volume.

use crate::split_piece;
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Operation, Request,
};
use meta_core::ids::{Ino, Level, SessionId, SlotIndex, Uuid, VolumeId};
use meta_core::kv::{MemKv, Overlay};
use meta_core::limits::LEVEL_MAX;
use meta_core::machine;
use meta_core::name::Name;
use meta_core::outcome::Outcome;
use proto::{ProstCodec, codec};
use std::sync::LazyLock;

/// The volume that there is.
pub(crate) const VOLUME: VolumeId = VolumeId(1);

static ROWS: LazyLock<MemKv> = LazyLock::new(make);

/// A cluster with a volume, a session, and a few names.
pub(crate) fn volume() -> MemKv {
    ROWS.clone()
}

fn make() -> MemKv {
    let mut rows = MemKv::default();
    for (second, (volume, body)) in (1_i64..).zip(story()) {
        let stamp = Timestamp {
            seconds: second,
            nanos: 0,
        };
        let command = Command {
            volume,
            stamp,
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&rows);
        let reply = machine::apply(&mut pending, &ProstCodec, &command).expect("a sound state");
        assert!(matches!(reply.outcome, Outcome::Done(_)), "{reply:?}");
        let writes = pending.into_writes();
        rows.write(writes);
    }
    rows
}

fn story() -> Vec<(VolumeId, CommandBody)> {
    let cluster = Uuid([7; 16]);
    let create = CreateVolume {
        name: "vol".to_owned(),
        uuid: Uuid([8; 16]),
        block_bytes: 4 << 20,
        storage: b"{}".to_vec(),
    };
    let open = CommandBody::OpenSession {
        nonce: 9,
        slots: 8,
        info: Vec::new(),
    };
    let mut story = vec![
        (VolumeId::CLUSTER, CommandBody::InitCluster { cluster }),
        (VolumeId::CLUSTER, CommandBody::CreateVolume(create)),
        (VOLUME, CommandBody::RaiseLevel { level: LEVEL_MAX }),
        (VOLUME, open),
    ];
    let nodes = [("d", NewNode::Directory), ("f", NewNode::Regular)];
    for (sequence, (name, node)) in (1..).zip(nodes) {
        let operation = Operation::Create(Create {
            parent: Ino::ROOT,
            name: Name::new(name).expect("a name"),
            mode: 0o755,
            node,
            masked: 0,
            existing: Existing::Refuse,
        });
        let request = Request {
            session: SessionId(1),
            slot: SlotIndex(0),
            sequence,
            caller: Caller::root(),
            operation,
        };
        story.push((VOLUME, CommandBody::Request(request)));
    }
    story
}

/// Commands one after the other, each behind its length in two bytes.
pub(crate) fn apply(bytes: &[u8]) {
    let rows = LazyLock::force(&ROWS);
    let mut pending = Overlay::new(rows);
    let mut rest = bytes;
    while let Some((command, after)) = split_piece(rest) {
        rest = after;
        let Ok(command) = codec::decode_command(command) else {
            continue;
        };
        if machine::apply(&mut pending, &ProstCodec, &command).is_err() {
            return;
        }
    }
}
