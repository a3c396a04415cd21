//! What a conversion refuses, and what it tolerates.

use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{Command, CommandBody, Operation, Request, XattrMode};
use meta_core::ids::{Ino, Level, SessionId, SlotIndex, VolumeId};
use meta_core::limits;
use meta_core::query::Query;
use prost::Message;
use proto::codec::{FORMAT_VERSION, decode_command, encode_command};
use proto::convert::Convert as _;
use proto::{ConvertError, v1};

fn request(operation: Operation) -> Command {
    let (session, slot) = (SessionId(1), SlotIndex(0));
    let request = Request {
        session,
        slot,
        sequence: 1,
        caller: Caller::root(),
        operation,
    };
    let body = CommandBody::Request(request);
    Command {
        volume: VolumeId(1),
        stamp: Timestamp::default(),
        read_level: Level(0),
        body,
    }
}

fn set_xattr(name_bytes: usize, value_bytes: usize) -> Command {
    request(Operation::SetXattr {
        ino: Ino(1),
        name: vec![b'n'; name_bytes],
        value: vec![0; value_bytes],
        mode: XattrMode::Set,
    })
}

/// Decodes a command after a change to its message.
fn changed(
    command: &Command,
    change: impl FnOnce(&mut v1::Command),
) -> Result<Command, ConvertError> {
    let mut message = v1::Command::from(command);
    change(&mut message);
    let mut bytes = vec![FORMAT_VERSION];
    bytes.extend(message.encode_to_vec());
    decode_command(&bytes)
}

fn operation_of(message: &mut v1::Command) -> &mut Option<v1::request::Operation> {
    match &mut message.body {
        Some(v1::command::Body::Request(request)) => &mut request.operation,
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn missing_fields_are_refused() {
    let command = set_xattr(1, 1);
    let no_stamp = changed(&command, |m| m.stamp = None);
    assert!(
        matches!(no_stamp, Err(ConvertError::Missing("Command.stamp"))),
        "{no_stamp:?}"
    );
    let no_body = changed(&command, |m| m.body = None);
    assert!(
        matches!(no_body, Err(ConvertError::Missing("Command.body"))),
        "{no_body:?}"
    );
    let no_operation = changed(&command, |m| *operation_of(m) = None);
    assert!(
        matches!(
            no_operation,
            Err(ConvertError::Missing("Request.operation"))
        ),
        "{no_operation:?}"
    );
}

#[test]
fn unknown_numbers_are_refused() {
    for number in [0, 4, -1, i32::MAX] {
        let result = changed(&set_xattr(1, 1), |m| match operation_of(m) {
            Some(v1::request::Operation::SetXattr(set)) => set.mode = number,
            other => panic!("not a set: {other:?}"),
        });
        assert!(
            matches!(
                result,
                Err(ConvertError::UnknownNumber {
                    field: "SetXattr.mode",
                    ..
                })
            ),
            "{number}: {result:?}"
        );
    }
}

#[test]
fn values_past_their_limits_are_refused() {
    let fits = set_xattr(limits::XATTR_NAME_BYTES_MAX, limits::XATTR_VALUE_BYTES_MAX);
    assert_eq!(decode_command(&encode_command(&fits)).expect("fits"), fits);
    let past = [
        (
            set_xattr(limits::XATTR_NAME_BYTES_MAX + 1, 0),
            "SetXattr.name",
        ),
        (
            set_xattr(1, limits::XATTR_VALUE_BYTES_MAX + 1),
            "SetXattr.value",
        ),
        (
            request(Operation::GrantSlices {
                count: limits::GRANT_SLICES_MAX + 1,
            }),
            "GrantSlices.count",
        ),
    ];
    for (command, expected) in past {
        match decode_command(&encode_command(&command)) {
            Err(ConvertError::PastLimit { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let bad_time = changed(&set_xattr(1, 1), |m| {
        m.stamp = Some(v1::Timestamp {
            seconds: 0,
            nanos: 1_000_000_000,
        });
    });
    assert!(
        matches!(bad_time, Err(ConvertError::PastLimit { .. })),
        "{bad_time:?}"
    );
}

#[test]
fn bytes_of_another_length_than_sixteen_are_refused() {
    let body = CommandBody::InitCluster {
        cluster: meta_core::ids::Uuid([7; 16]),
    };
    let command = Command {
        volume: VolumeId::CLUSTER,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body,
    };
    let result = changed(&command, |m| {
        let cluster = vec![7; 15];
        m.body = Some(v1::command::Body::InitCluster(v1::InitCluster { cluster }));
    });
    let wrong = ConvertError::WrongLength {
        field: "InitCluster.cluster",
        len: 15,
        expected: 16,
    };
    assert_eq!(result.expect_err("15 bytes").to_string(), wrong.to_string());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let unlink = |name: &[u8]| {
        let operation = v1::request::Operation::Unlink(v1::Unlink {
            parent: 1,
            name: name.into(),
        });
        changed(&set_xattr(1, 1), |m| *operation_of(m) = Some(operation))
    };
    assert!(unlink(b"fine").is_ok());
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'a'; 256]] {
        let result = unlink(name);
        assert!(
            matches!(result, Err(ConvertError::Name { .. })),
            "{name:?}: {result:?}"
        );
    }
}

#[test]
fn paths_and_questions_for_many_files_are_bounded_and_checked() {
    let asked = |body| {
        let query = v1::Query {
            volume: 1,
            caller: Some(v1::Caller::default()),
            body: Some(body),
        };
        let query: Result<Query, ConvertError> = query.convert();
        query.map(drop)
    };
    let resolve = |length: usize, links: i32| {
        asked(v1::query::Body::Resolve(v1::Resolve {
            from: 1,
            path: vec![b'a'; length],
            links,
            open: None,
        }))
    };
    assert!(resolve(limits::PATH_BYTES_MAX, 1).is_ok());
    let long = resolve(limits::PATH_BYTES_MAX + 1, 1);
    assert!(
        matches!(long, Err(ConvertError::PastLimit { .. })),
        "{long:?}"
    );
    for links in [0, 4, -1] {
        let unknown = resolve(1, links);
        let refused = matches!(unknown, Err(ConvertError::UnknownNumber { .. }));
        assert!(refused, "{links}: {unknown:?}");
    }
    let many = |count| {
        asked(v1::query::Body::GetAttrs(v1::GetAttrs {
            inos: vec![7; count],
        }))
    };
    assert!(many(limits::GET_ATTRS_MAX).is_ok());
    let too_many = many(limits::GET_ATTRS_MAX + 1);
    assert!(
        matches!(too_many, Err(ConvertError::PastLimit { .. })),
        "{too_many:?}"
    );
}

/// What a node of an earlier version makes of a question that it does not know.
#[test]
fn a_question_of_a_later_version_is_a_question_without_a_body() {
    let mut bytes = v1::Query {
        volume: 1,
        caller: Some(v1::Caller::default()),
        body: None,
    }
    .encode_to_vec();
    // Field 1000, of no bytes.
    bytes.extend([0xc2, 0x3e, 0x00]);
    let query = v1::Query::decode(&bytes[..]).expect("a message");
    let query: Result<Query, ConvertError> = query.convert();
    assert!(
        matches!(query, Err(ConvertError::Missing("Query.body"))),
        "{query:?}"
    );
}

#[test]
fn names_removed_together_are_bounded_and_checked() {
    let remove = |names: Vec<Vec<u8>>| {
        let operation = v1::request::Operation::RemoveEntries(v1::RemoveEntries {
            parent: 1,
            names,
            skip_trash: false,
        });
        changed(&set_xattr(1, 1), |m| *operation_of(m) = Some(operation))
    };
    assert!(remove(vec![b"a".to_vec(); limits::REMOVE_ENTRIES_MAX]).is_ok());
    let many = remove(vec![b"a".to_vec(); limits::REMOVE_ENTRIES_MAX + 1]);
    assert!(
        matches!(many, Err(ConvertError::PastLimit { .. })),
        "{many:?}"
    );
    let bad = remove(vec![b"a".to_vec(), b"..".to_vec()]);
    assert!(matches!(bad, Err(ConvertError::Name { .. })), "{bad:?}");
}

#[test]
fn other_versions_and_too_many_bytes_are_refused() {
    let mut bytes = encode_command(&set_xattr(1, 1));
    bytes[0] = 2;
    assert!(matches!(
        decode_command(&bytes),
        Err(ConvertError::Version(2))
    ));
    assert!(matches!(decode_command(&[]), Err(ConvertError::Empty)));
    let many = vec![FORMAT_VERSION; proto::limits::COMMAND_BYTES_MAX + 1];
    assert!(matches!(
        decode_command(&many),
        Err(ConvertError::PastLimit { .. })
    ));
}

#[test]
fn fields_of_later_versions_are_skipped() {
    let command = set_xattr(3, 3);
    let mut bytes = encode_command(&command);
    // Field 100, a varint.
    bytes.extend([0xa0, 0x06, 0x2a]);
    assert_eq!(
        decode_command(&bytes).expect("skips what it does not know"),
        command
    );
}

#[test]
fn the_largest_commit_fits() {
    use meta_core::command::{Commit, NewSlice};
    use meta_core::ids::{ChunkIndex, SliceId};
    let slice = |index: u32| NewSlice {
        chunk: ChunkIndex(index),
        at: 0,
        id: SliceId(u64::MAX),
        len: 64 << 20,
        frame_crcs: vec![u32::MAX; 1024],
    };
    let slices = (0..64).map(slice).collect();
    let mut command = request(Operation::Commit(Commit {
        ino: Ino(9),
        slices,
        mtime: None,
    }));
    if let CommandBody::Request(request) = &mut command.body {
        request.caller.groups = vec![u32::MAX; limits::GROUPS_MAX];
    }
    let bytes = encode_command(&command);
    assert!(
        bytes.len() < proto::limits::CLIENT_COMMAND_BYTES_MAX,
        "{}",
        bytes.len()
    );
    assert_eq!(decode_command(&bytes).expect("fits"), command);
}
