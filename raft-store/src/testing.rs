//! What this crate's tests share.

use crate::fault::Faults;
use crate::log::LogStore;
use crate::state::{StateMachine, StateReader};
use crate::store::Parts;
use crate::types::{CommandBytes, Entry, LogId, Membership, NodeInfo, TypeConfig};
use bytes::Bytes;
use meta_core::attr::Timestamp;
use meta_core::changelog::Record;
use meta_core::codec::Codec;
use meta_core::command::{Command, CommandBody, CreateVolume};
use meta_core::ids::{Level, Uuid, VolumeId};
use meta_core::kv::{Family, KvRead};
use meta_core::outcome::{Fatal, Reply};
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::vote::leader_id_std::CommittedLeaderId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

/// Keeps what it encodes in a table and gives out indexes: the encodings live in a crate that
/// this one must not know.
#[derive(Default)]
struct TableCodec {
    commands: Table<Command>,
    replies: Table<Reply>,
    records: Table<Record>,
}

struct Table<T>(Mutex<Vec<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone + PartialEq> Table<T> {
    fn encode(&self, value: &T) -> Vec<u8> {
        let mut values = self.0.lock();
        let index = values
            .iter()
            .position(|known| known == value)
            .unwrap_or_else(|| {
                values.push(value.clone());
                values.len() - 1
            });
        (index as u64).to_le_bytes().to_vec()
    }

    fn decode(&self, bytes: &[u8]) -> Option<T> {
        let index = u64::from_le_bytes(bytes.try_into().ok()?);
        self.0.lock().get(usize::try_from(index).ok()?).cloned()
    }
}

impl Codec for TableCodec {
    fn decode_command(&self, bytes: &[u8]) -> Result<Command, Fatal> {
        self.commands
            .decode(bytes)
            .ok_or_else(|| Fatal::Command(String::from("not in the table")))
    }
    fn encode_command(&self, command: &Command) -> Vec<u8> {
        self.commands.encode(command)
    }
    fn encode_reply(&self, reply: &Reply) -> Vec<u8> {
        self.replies.encode(reply)
    }
    fn decode_reply(&self, bytes: &[u8]) -> Result<Reply, Fatal> {
        self.replies
            .decode(bytes)
            .ok_or(Fatal::Invariant("not in the table"))
    }
    fn encode_record(&self, record: &Record) -> Vec<u8> {
        self.records.encode(record)
    }
    fn decode_record(&self, bytes: &[u8]) -> Result<Record, Fatal> {
        self.records
            .decode(bytes)
            .ok_or(Fatal::Invariant("not in the table"))
    }
}

static CODEC: LazyLock<Arc<TableCodec>> = LazyLock::new(Arc::default);

/// The parts of one node's store.
pub(crate) fn parts() -> Parts {
    Parts::new(Arc::clone(&CODEC) as Arc<dyn Codec>, Faults::default())
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

pub(crate) fn blank(term: u64, index: u64) -> Entry {
    Entry {
        log_id: id(term, index),
        payload: EntryPayload::Blank,
    }
}

/// An entry with bytes that are no command: it can be stored, not applied.
pub(crate) fn opaque(term: u64, index: u64, bytes: Vec<u8>) -> Entry {
    let payload = EntryPayload::Normal(CommandBytes(Bytes::from(bytes)));
    Entry {
        log_id: id(term, index),
        payload,
    }
}

fn entry(term: u64, index: u64, body: CommandBody) -> Entry {
    let stamp = Timestamp {
        seconds: 1_700_000_000 + i64::try_from(index).unwrap(),
        nanos: 0,
    };
    let command = Command {
        volume: VolumeId::CLUSTER,
        stamp,
        read_level: Level(0),
        body,
    };
    opaque(term, index, CODEC.encode_command(&command))
}

/// A command that gives the cluster its identity.
pub(crate) fn init(term: u64, index: u64) -> Entry {
    entry(
        term,
        index,
        CommandBody::InitCluster {
            cluster: Uuid([7; 16]),
        },
    )
}

/// A command that makes the volume `vol-INDEX`.
pub(crate) fn volume(term: u64, index: u64) -> Entry {
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&index.to_be_bytes());
    let volume = CreateVolume {
        name: format!("vol-{index}"),
        uuid: Uuid(uuid),
        block_bytes: 4 << 20,
        storage: b"{}".to_vec(),
    };
    entry(term, index, CommandBody::CreateVolume(volume))
}

/// Members at 0, the cluster's identity at 1, then a volume in each entry.
pub(crate) fn history(end: u64) -> Vec<Entry> {
    let entry = |index| match index {
        0 => membership(1, 0, &[(1, "a:1")]),
        1 => init(1, 1),
        index => volume(1, index),
    };
    (0..end).map(entry).collect()
}

pub(crate) fn members(addrs: &[(u64, &str)]) -> Membership {
    let nodes: BTreeMap<u64, NodeInfo> = addrs
        .iter()
        .map(|(id, addr)| {
            (
                *id,
                NodeInfo {
                    addr: (*addr).into(),
                    ..NodeInfo::default()
                },
            )
        })
        .collect();
    Membership::new(vec![nodes.keys().copied().collect()], nodes).unwrap()
}

pub(crate) fn membership(term: u64, index: u64, addrs: &[(u64, &str)]) -> Entry {
    Entry {
        log_id: id(term, index),
        payload: EntryPayload::Membership(members(addrs)),
    }
}

/// Told when the entries are flushed.
pub(crate) type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

/// Appends without waiting for the flush.
pub(crate) async fn append_later(log: &mut LogStore, entries: Vec<Entry>) -> io::Result<Flushed> {
    let (done, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    Ok(flushed)
}

/// Appends and waits until the entries are flushed.
pub(crate) async fn append(log: &mut LogStore, entries: Vec<Entry>) -> io::Result<()> {
    append_later(log, entries)
        .await?
        .await
        .expect("the callback is called")
}

pub(crate) async fn apply(machine: &mut StateMachine, entries: Vec<Entry>) -> io::Result<()> {
    let items = entries.into_iter().map(|entry| Ok((entry, None)));
    machine.apply(futures::stream::iter(items)).await
}

/// A row and where it is.
pub(crate) type Row = (Family, Vec<u8>, Vec<u8>);

/// Every row there is.
pub(crate) fn rows(reader: &StateReader) -> Vec<Row> {
    reader.with_view(|view| all_rows(view)).unwrap()
}

pub(crate) fn all_rows(view: &dyn KvRead) -> Vec<Row> {
    let mut rows = Vec::new();
    for family in [Family::State, Family::Changelog] {
        let visit = &mut |key: &[u8], value: &[u8]| {
            rows.push((family, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        view.scan(family, &[], &[0xff; 16], visit).unwrap();
    }
    rows
}

/// How many volumes the rows hold.
pub(crate) fn volumes(reader: &StateReader) -> usize {
    let summary = reader
        .with_view(|view| meta_core::read::summary(&view))
        .unwrap();
    summary.unwrap().len()
}

pub(crate) fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
