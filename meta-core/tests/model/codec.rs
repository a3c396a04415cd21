//! Encodings that suit one process: replies and records by their debug text, which is the same for
//! equal ones.

use meta_core::changelog::{Record, RowChange};
use meta_core::codec::Codec;
use meta_core::command::Command;
use meta_core::outcome::{Fatal, Reply};
use std::collections::HashMap;
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct TextCodec {
    replies: Mutex<HashMap<Vec<u8>, Reply>>,
    records: Mutex<HashMap<Vec<u8>, Record>>,
}

impl TextCodec {
    /// Bytes of the keys and rows of the largest record so far.
    pub(crate) fn record_bytes_max(&self) -> usize {
        let known = self.records.lock().expect("not poisoned");
        let bytes = |record: &Record| {
            let changes = record.changes.iter();
            let one =
                |change: &RowChange| change.key.len() + change.new.as_ref().map_or(0, Vec::len);
            changes.map(one).sum::<usize>()
        };
        known.values().map(bytes).max().unwrap_or(0)
    }
}

impl Codec for TextCodec {
    fn decode_command(&self, _: &[u8]) -> Result<Command, Fatal> {
        Err(Fatal::Command("commands are not encoded here".to_owned()))
    }

    fn encode_command(&self, command: &Command) -> Vec<u8> {
        format!("{command:?}").into_bytes()
    }

    fn encode_reply(&self, reply: &Reply) -> Vec<u8> {
        let bytes = format!("{reply:?}").into_bytes();
        let mut known = self.replies.lock().expect("not poisoned");
        known.insert(bytes.clone(), reply.clone());
        bytes
    }

    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal> {
        let known = self.replies.lock().expect("not poisoned");
        let found = known.get(bytes).cloned();
        found.ok_or_else(|| Fatal::Command("no reply has these bytes".to_owned()))
    }

    fn encode_record(&self, record: &Record) -> Vec<u8> {
        let bytes = format!("{record:?}").into_bytes();
        let mut known = self.records.lock().expect("not poisoned");
        known.insert(bytes.clone(), record.clone());
        bytes
    }

    fn decode_record(&self, bytes: &[u8]) -> Result<Record, Fatal> {
        let known = self.records.lock().expect("not poisoned");
        let found = known.get(bytes).cloned();
        found.ok_or_else(|| Fatal::Command("no record has these bytes".to_owned()))
    }
}
