//! What the tests of this crate share.

use crate::changelog::Record;
use crate::codec::Codec;
use crate::command::Command;
use crate::outcome::{Fatal, Reply};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Replies by their place in a list, records by their debug text: enough for one process.
#[derive(Default)]
pub(crate) struct ListCodec {
    replies: Mutex<Vec<Reply>>,
    records: Mutex<BTreeMap<Vec<u8>, Record>>,
}

impl Codec for ListCodec {
    fn decode_command(&self, _: &[u8]) -> Result<Command, Fatal> {
        Err(Fatal::Command("commands are not encoded here".to_owned()))
    }
    fn encode_command(&self, _: &Command) -> Vec<u8> {
        Vec::new()
    }
    fn encode_reply(&self, reply: &Reply) -> Vec<u8> {
        let mut list = self.replies.lock().expect("not poisoned");
        list.push(reply.clone());
        (list.len() - 1).to_le_bytes().to_vec()
    }
    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal> {
        let index = usize::from_le_bytes(bytes.try_into().expect("as encoded"));
        Ok(self.replies.lock().expect("not poisoned")[index].clone())
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
