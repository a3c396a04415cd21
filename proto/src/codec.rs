//! The stored encodings: one version byte, then a protobuf message.
//!
//! The same value always gives the same bytes: messages have no maps, and prost writes fields in
//! the order of their declaration. Records depend on it, because every replica encodes its own and
//! their crcs must agree.

use crate::convert::{Convert, encode_record as encode_record_message};
use crate::error::ConvertError;
use crate::limits::COMMAND_BYTES_MAX;
use crate::v1;
use meta_core::changelog::Record;
use meta_core::codec::Codec;
use meta_core::command::Command;
use meta_core::limits::MESSAGE_BYTES_MAX;
use meta_core::outcome::{Fatal, Reply};
use prost::Message;

/// The version byte of commands, replies and records as written today.
pub const FORMAT_VERSION: u8 = 1;

/// Commands, replies and records as protobuf messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProstCodec;

/// Writes a command: a version byte, then a [`v1::Command`].
pub fn encode_command(command: &Command) -> Vec<u8> {
    encode(&v1::Command::from(command))
}

/// Reads a command.
///
/// # Errors
/// If it is of an unknown version, damaged, or past a limit.
pub fn decode_command(bytes: &[u8]) -> Result<Command, ConvertError> {
    decode::<v1::Command, _>(bytes, "Command", COMMAND_BYTES_MAX)
}

/// Writes a reply: a version byte, then a [`v1::Reply`].
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    encode(&v1::Reply::from(reply))
}

/// Reads a reply.
///
/// # Errors
/// If it is of an unknown version, damaged, or past a limit.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, ConvertError> {
    decode::<v1::Reply, _>(bytes, "Reply", MESSAGE_BYTES_MAX)
}

/// Writes a record's body: a version byte, then a [`v1::Record`].
pub fn encode_record(record: &Record) -> Vec<u8> {
    let mut bytes = vec![FORMAT_VERSION];
    encode_record_message(record, &mut bytes);
    bytes
}

/// Reads a record's body.
///
/// # Errors
/// If it is of an unknown version, damaged, or past a limit.
pub fn decode_record(bytes: &[u8]) -> Result<Record, ConvertError> {
    decode::<v1::Record, _>(bytes, "Record", MESSAGE_BYTES_MAX)
}

fn encode(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(FORMAT_VERSION);
    message.encode_raw(&mut bytes);
    bytes
}

fn decode<M, T>(bytes: &[u8], field: &'static str, bytes_max: usize) -> Result<T, ConvertError>
where
    M: Message + Default + Convert<T>,
{
    if bytes.len() > bytes_max {
        let (value, max) = (bytes.len() as u64, bytes_max as u64);
        return Err(ConvertError::PastLimit { field, value, max });
    }
    match bytes.split_first() {
        None => Err(ConvertError::Empty),
        Some((&FORMAT_VERSION, message)) => M::decode(message)?.convert(),
        Some((&version, _)) => Err(ConvertError::Version(version)),
    }
}

impl Codec for ProstCodec {
    fn decode_command(&self, bytes: &[u8]) -> Result<Command, Fatal> {
        decode_command(bytes).map_err(|error| Fatal::Command(error.to_string()))
    }

    fn encode_command(&self, command: &Command) -> Vec<u8> {
        encode_command(command)
    }

    fn encode_reply(&self, reply: &Reply) -> Vec<u8> {
        encode_reply(reply)
    }

    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal> {
        decode_reply(bytes).map_err(|error| damaged("reply", &error))
    }

    fn encode_record(&self, record: &Record) -> Vec<u8> {
        encode_record(record)
    }

    fn decode_record(&self, bytes: &[u8]) -> Result<Record, Fatal> {
        decode_record(bytes).map_err(|error| damaged("changelog record", &error))
    }
}

fn damaged(what: &'static str, error: &ConvertError) -> Fatal {
    Fatal::Damaged {
        what,
        key: String::new(),
        why: error.why(),
    }
}
