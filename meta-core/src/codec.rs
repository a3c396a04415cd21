//! The seam to the encodings that other versions and other clusters read. `proto` implements it;
//! a node injects it, so that each command, reply and record is encoded once.

use crate::changelog::Record;
use crate::command::Command;
use crate::outcome::{Fatal, Reply};

/// Bytes of commands, replies and records.
pub trait Codec: Send + Sync + 'static {
    /// Reads a command from the log.
    ///
    /// # Errors
    /// [`Fatal::Command`] if the bytes are of a version unknown here, or damaged.
    fn decode_command(&self, bytes: &[u8]) -> Result<Command, Fatal>;
    /// Writes a command for the log.
    fn encode_command(&self, command: &Command) -> Vec<u8>;
    /// Writes a reply for its slot and for the wire.
    fn encode_reply(&self, reply: &Reply) -> Vec<u8>;
    /// Reads a reply from its slot.
    ///
    /// # Errors
    /// [`Fatal::Damaged`] if the bytes are no reply.
    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal>;
    /// Writes a record's body. Its crc is computed over exactly these bytes.
    fn encode_record(&self, record: &Record) -> Vec<u8>;
    /// Reads a record's body.
    ///
    /// # Errors
    /// [`Fatal::Damaged`] if the bytes are no record.
    fn decode_record(&self, bytes: &[u8]) -> Result<Record, Fatal>;
}
