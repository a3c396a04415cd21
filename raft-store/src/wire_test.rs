use super::*;
use crate::log::{LogStart, Tip};
use crate::snapshot::{FileEntry, Source};
use crate::state::AppliedState;
use crate::testing::{blank, id, members, opaque};
use proptest::prelude::*;
use std::fmt::Debug;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of version 1. Only ever added to.
fn frozen<M: Message + Debug>(message: &M, expected: &str) {
    let bytes = encode(message).unwrap();
    assert_eq!(hex(&bytes), expected, "{message:?}");
    let back: M = decode(&bytes).unwrap();
    assert_eq!(format!("{back:?}"), format!("{message:?}"));
}

fn stored_members() -> StoredMembership {
    StoredMembership::new(Some(id(1, 0)), members(&[(1, "a:1"), (2, "b:2")]))
}

#[test]
fn messages_between_peers_have_frozen_bytes() {
    let vote = Vote::new_committed(5, 2);
    let request: AppendEntriesRequest<TypeConfig> = AppendEntriesRequest {
        vote,
        prev_log_id: Some(id(4, 9)),
        entries: vec![blank(5, 10), opaque(5, 11, b"xyz".to_vec())],
        leader_commit: Some(id(4, 8)),
    };
    frozen(
        &request,
        "43524c570101000015000000f23a8cca0501020101040902050a00050b010378797a010408",
    );
    frozen(
        &AppendEntriesResponse::<TypeConfig>::Success,
        "43524c570102000001000000202e378e00",
    );
    frozen(
        &AppendEntriesResponse::<TypeConfig>::PartialSuccess(Some(id(4, 9))),
        "43524c570102000004000000c94d989801010409",
    );
    frozen(
        &AppendEntriesResponse::<TypeConfig>::HigherVote(vote),
        "43524c57010200000500000016f6c3400305010201",
    );
    let vote_request = VoteRequest::<TypeConfig> {
        vote: Vote::new(6, 1),
        last_log_id: Some(id(5, 11)),
        leadership_transfer: false,
    };
    frozen(
        &vote_request,
        "43524c570103000008000000906b65a30601010001050b00",
    );
    frozen(
        &VoteResponse::<TypeConfig>::new(vote, Some(id(5, 11)), true),
        "43524c570104000008000000ad644703050102010101050b",
    );
    frozen(
        &TransferLeaderRequest::<TypeConfig>::new(vote, 3, Some(id(5, 11))),
        "43524c570105000008000000ce77b510050102010301050b",
    );
    frozen::<TransferLeaderResponse<TypeConfig>>(&Ok(()), "43524c570106000001000000da207d0a00");
    let meta = SnapshotMeta {
        last_log_id: Some(id(5, 11)),
        last_membership: stored_members(),
    };
    frozen(
        &SnapshotHeader { vote, meta },
        "43524c57010700001a000000dfc9035c0501020101050b01010001020102020103613a310203623a3200",
    );
    frozen(
        &SnapshotResponse::<TypeConfig>::new(vote),
        "43524c570108000004000000aeadd4ad05010201",
    );
}

#[test]
fn marks_have_frozen_bytes() {
    frozen(
        &Vote::new(300, 2),
        "43524c570140000006000000523d0b0cfb2c01010200",
    );
    frozen(
        &CommittedMark(Some(id(1, 2))),
        "43524c57014100000300000075224e1c010102",
    );
    frozen(
        &LogStart {
            purged: Some(id(1, 2)),
            first: 3,
        },
        "43524c570142000004000000be1a5ff801010203",
    );
    frozen(
        &Tip {
            last: Some(id(1, 2)),
            vote_term: 3,
        },
        "43524c5701480000040000003a42f01a01010203",
    );
    frozen(
        &AppliedMark(id(1, 70_000)),
        "43524c570143000006000000f023b56801fc70110100",
    );
    frozen(
        &stored_members(),
        "43524c570144000012000000a963051101010001020102020103613a310203623a32",
    );
    frozen(
        &members(&[(1, "a:1")]),
        "43524c5701450000090000003c2eb639010101010103613a31",
    );
    frozen(
        &Current { generation: 7 },
        "43524c5701470000010000000a772e7107",
    );
}

#[test]
fn a_manifest_has_frozen_bytes() {
    let state = AppliedState {
        applied: Some(id(5, 11)),
        membership: stored_members(),
    };
    let file = FileEntry {
        name: "000009.sst".into(),
        bytes: 70_000,
        crc32: 0xdead_beef,
    };
    frozen(
        &Manifest::new(Source::Checkpoint, state, vec![file]),
        "43524c57014600002c000000b9cd4a150101050b01010001020102020103613a310203623a32010a3030303030392e737374fc70110100fcefbeadde",
    );
}

#[test]
fn another_version_kind_or_length_is_refused() {
    let good = encode(&Vote::new(1, 2)).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(matches!(
        decode::<Vote>(&with(0, b'X')),
        Err(WireError::Magic)
    ));
    assert!(matches!(
        decode::<Vote>(&with(4, 2)),
        Err(WireError::Version(2))
    ));
    assert!(matches!(
        decode::<Vote>(&with(5, 1)),
        Err(WireError::Kind {
            expected: 64,
            got: 1
        })
    ));
    assert!(matches!(
        decode::<Vote>(&with(11, 0xff)),
        Err(WireError::TooLarge(_))
    ));
    assert!(matches!(
        decode::<Vote>(&good[..good.len() - 1]),
        Err(WireError::Length { .. })
    ));
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(
        decode::<Vote>(&longer),
        Err(WireError::Length { .. })
    ));
    assert!(matches!(decode::<Vote>(&with(16, 9)), Err(WireError::Crc)));
}

#[test]
fn a_payload_that_claims_a_huge_length_is_refused_without_allocating_it() {
    // An append whose command says that it is 2^60 bytes long.
    let mut bytes = vec![0; ENVELOPE_BYTES];
    let header: [u8; 12] = [5, 1, 2, 1, 0, 1, 5, 10, 1, 253, 0, 0];
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&[0, 0, 0, 0, 0, 16]);
    let length = u32::try_from(bytes.len() - ENVELOPE_BYTES).unwrap();
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = VERSION;
    bytes[5] = 1;
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let crc = envelope_crc(&bytes[4..12], &bytes[ENVELOPE_BYTES..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let refused = decode::<AppendEntriesRequest<TypeConfig>>(&bytes);
    assert!(matches!(refused, Err(WireError::Payload(_))), "{refused:?}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = decode::<AppendEntriesRequest<TypeConfig>>(&bytes);
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![0; ENVELOPE_BYTES];
        bytes.extend_from_slice(&payload);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = 1;
        bytes[8..12].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        let crc = envelope_crc(&bytes[4..12], &payload);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let _outcome = decode::<AppendEntriesRequest<TypeConfig>>(&bytes);
    }
}
