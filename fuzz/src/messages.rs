//! Messages of clients, servers and mirrors.

use meta_client::MetaUrl;
use meta_core::changelog::SealedRecord;
use meta_core::command::Command;
use meta_core::outcome::{Refusal, Reply, Token};
use meta_core::query::{Answer, Query};
use prost::Message as _;
use proto::codec;
use proto::convert::{Convert, query_answer};
use proto::frame::Framed;
use proto::v1;
use std::str::FromStr as _;

pub(crate) fn command(bytes: &[u8]) {
    if let Ok(command) = codec::decode_command(bytes) {
        let again: Command = codec::decode_command(&codec::encode_command(&command))
            .expect("what was written can be read");
        assert_eq!(again, command);
    }
}

pub(crate) fn reply(bytes: &[u8]) {
    if let Ok(reply) = codec::decode_reply(bytes) {
        let again: Reply = codec::decode_reply(&codec::encode_reply(&reply))
            .expect("what was written can be read");
        assert_eq!(again, reply);
    }
}

/// A record's body, and the bytes of a sealed one.
pub(crate) fn record(bytes: &[u8]) {
    if let Ok(record) = codec::decode_record(bytes) {
        let again = codec::decode_record(&codec::encode_record(&record));
        assert_eq!(again.expect("what was written can be read"), record);
    }
    if let Ok(sealed) = SealedRecord::from_bytes(bytes) {
        assert_eq!(sealed.to_bytes(), bytes);
    }
    assert!(SealedRecord::seal(bytes.to_vec()).is_intact());
}

/// What a client sends.
pub(crate) fn client_frame(bytes: &[u8]) {
    use v1::client_frame::Body;
    let Ok(frame) = v1::ClientFrame::decode(bytes) else {
        return;
    };
    match frame.body {
        Some(Body::Execute(bytes)) => command(&bytes),
        Some(Body::Query(query)) => question(query),
        Some(Body::MirrorQuery(asked)) => asked.query.into_iter().for_each(question),
        Some(Body::NearestQuery(asked)) => asked.query.into_iter().for_each(question),
        Some(Body::LeasedQuery(asked)) => asked.query.into_iter().for_each(question),
        _ => {}
    }
}

fn question(query: v1::Query) {
    let converted: Result<Query, _> = query.convert();
    if let Ok(query) = converted {
        let again: Query = v1::Query::from(&query)
            .convert()
            .expect("what was written can be read");
        assert_eq!(again, query);
    }
}

/// What a node answers.
pub(crate) fn server_frame(bytes: &[u8]) {
    use v1::server_frame::Body;
    let Ok(frame) = v1::ServerFrame::decode(bytes) else {
        return;
    };
    match frame.body {
        Some(Body::Reply(bytes)) => reply(&bytes),
        Some(Body::Answer(answer)) => told(answer),
        Some(Body::LeasedAnswer(leased)) => leased.answer.into_iter().for_each(told),
        _ => {}
    }
}

fn told(answer: v1::QueryAnswer) {
    let converted: Result<(Token, Result<Answer, Refusal>), _> = answer.convert();
    if let Ok((token, result)) = converted {
        let again = query_answer(token, result.as_ref().map_err(|refusal| *refusal));
        let again = again.convert().expect("what was written can be read");
        assert_eq!(again, (token, result));
    }
}

/// What an origin sends to a mirror: a frame behind its crc, which is put right here.
pub(crate) fn changelog_frame(bytes: &[u8]) {
    let checked = v1::CheckedFrame {
        crc: crc32(bytes),
        frame: bytes.to_vec().into(),
    };
    if let Ok(frame) = v1::FollowFrame::of_frame(&checked)
        && let Some(v1::follow_frame::Frame::Records(records)) = frame.frame
    {
        records
            .records
            .iter()
            .for_each(|sealed| record(&sealed.body));
    }
    let _read_or_not = v1::LoadFrame::of_frame(&checked);
    if let Ok(sent) = v1::CheckedFrame::decode(bytes) {
        let _read_or_not = v1::FollowFrame::of_frame(&sent);
    }
}

/// A META-URL, which a person types.
pub(crate) fn meta_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(url) = MetaUrl::from_str(text) {
        let again = MetaUrl::from_str(&url.to_string()).expect("what was written can be read");
        assert_eq!(again.to_string(), url.to_string());
    }
}

/// The crc of a sealed record is that of all bytes here.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    SealedRecord::seal(bytes.to_vec()).crc
}
