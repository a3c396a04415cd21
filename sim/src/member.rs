//! One node: a host, a disk and a clock, and the process on them if it runs.

use crate::clock::SimClock;
use crate::ledger::Ledger;
use crate::network;
use meta_server::config::{LogConfig, LogFormat, NodeConfig, RaftTimes};
use meta_server::{AppliedGeneration, FreeSpace, Node, NodeParts};
use parking_lot::Mutex;
use raft_store::simulated::{Crash, SimDisk};
use raft_store::{Incarnation, NodeId, StateReader, StoreError};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Free bytes of every disk.
const FREE_BYTES: u64 = 1 << 40;

/// How the reason of a node begins that does not trust its data.
pub(crate) const DAMAGED: &str = "damaged";
/// The reason of a node whose disk failed as [`SimDisk::fail_after`] says, in the store's words.
pub(crate) const DISK_FAILED: &str = "refused: the disk failed";

/// What runs of a node.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) reader: Option<StateReader>,
    /// Which start of the process this is.
    pub(crate) start: u64,
    /// Reads that its earlier starts answered under leases.
    lease_reads: u64,
    /// Why it ended by itself.
    pub(crate) ended: Option<String>,
}

impl Running {
    fn lease_reads(&self) -> u64 {
        let of_node = self.node.as_ref().map_or(0, |node| node.lease_reads());
        self.lease_reads + of_node
    }

    /// What is left once the process has ended.
    fn over(&self) -> Self {
        Self {
            start: self.start,
            lease_reads: self.lease_reads(),
            ..Self::default()
        }
    }
}

/// One node. Clones are the same node.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) host: String,
    pub(crate) disk: SimDisk,
    pub(crate) clock: SimClock,
    ledger: Ledger,
    peers: BTreeMap<NodeId, String>,
    times: RaftTimes,
    /// Of what is on the disk.
    incarnation: Arc<AtomicU64>,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug)]
struct PlentyOfSpace;

impl FreeSpace for PlentyOfSpace {
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(FREE_BYTES)
    }
}

impl Member {
    pub(crate) fn new(
        id: NodeId,
        host: String,
        disk: SimDisk,
        ledger: Ledger,
        peers: BTreeMap<NodeId, String>,
        times: RaftTimes,
    ) -> Self {
        ledger.add_disk(id, disk.clone());
        Self {
            id,
            host,
            disk,
            clock: SimClock::default(),
            ledger,
            peers,
            times,
            incarnation: Arc::new(AtomicU64::new(id)),
            running: Arc::default(),
        }
    }

    /// What the node is started with.
    pub(crate) fn config(&self) -> NodeConfig {
        NodeConfig {
            node_id: self.id,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, network::PORT)),
            metrics_listen: None,
            data_dir: "nowhere".into(),
            insecure_network: true,
            reserve_bytes: 1 << 20,
            cache_bytes: 1 << 20,
            log_file_bytes: 16 << 20,
            worker_threads: 1,
            session_ttl: Duration::from_secs(10),
            changelog_retain_bytes: 1 << 20,
            changelog_retain: Duration::from_secs(3600),
            raise_levels: true,
            peers: self.peers.clone(),
            raft: RaftTimes {
                // Small, so that snapshots and purged logs are met in a minute.
                snapshot_entries: 150,
                keep_entries: 40,
                ..self.times.clone()
            },
            log: LogConfig {
                format: LogFormat::Text,
                level: "off".to_owned(),
            },
        }
    }

    /// The process: starts, and runs until the store fails or the host crashes.
    pub(crate) async fn process(self) {
        let ended = match self.serve().await {
            Ok(reason) => reason,
            Err(error) => error,
        };
        let running = &mut *self.running.lock();
        *running = Running {
            ended: Some(ended),
            ..running.over()
        };
    }

    async fn serve(&self) -> Result<String, String> {
        let observer = self.ledger.witness(self.id);
        let applied = AppliedGeneration::default();
        let store = raft_store::open_simulated(&self.disk, applied.codec(), Some(observer));
        let store = store.map_err(|error| format!("{}: {error}", kind(&error)))?;
        let (reader, poison) = (store.reader.clone(), store.poison.clone());
        // Whoever notices first that the store failed has words of its own: these are the store's.
        let reason = |noticed: String| poison.reason().unwrap_or(noticed);
        let listener = network::listen().await.map_err(|error| error.to_string())?;
        let parts = NodeParts {
            listener,
            metrics_listener: None,
            store,
            applied,
            space: Box::new(PlentyOfSpace),
            wall: Arc::new(self.clock.clone()),
            incarnation: Incarnation(self.incarnation.load(Ordering::Relaxed)),
        };
        let started = Node::start_with(self.config(), parts).await;
        let node = started.map_err(|error| reason(format!("start: {error}")))?;
        let node = Arc::new(node);
        {
            let running = &mut *self.running.lock();
            *running = Running {
                node: Some(Arc::clone(&node)),
                reader: Some(reader),
                start: running.start + 1,
                ..running.over()
            };
        }
        Ok(reason(node.failed().await))
    }

    /// What a crash leaves. The host must have been crashed.
    pub(crate) fn crashed(&self, crash: Crash) {
        let running = &mut *self.running.lock();
        *running = running.over();
        self.disk.crash(crash);
    }

    /// The disk is replaced by an empty one. The host must have been crashed.
    pub(crate) fn wipe(&self) {
        self.disk.wipe();
        self.incarnation.fetch_add(1_000, Ordering::Relaxed);
    }

    /// Why the process ended by itself, if it did.
    pub(crate) fn ended(&self) -> Option<String> {
        self.running.lock().ended.clone()
    }

    /// Which start of the process this is.
    pub(crate) fn start(&self) -> u64 {
        self.running.lock().start
    }

    /// Reads that it answered under leases, in all its starts.
    pub(crate) fn lease_reads(&self) -> u64 {
        self.running.lock().lease_reads()
    }

    /// The rows of the running process.
    pub(crate) fn reader(&self) -> Option<StateReader> {
        self.running.lock().reader.clone()
    }

    /// The term that it leads in, if it leads as far as it knows.
    pub(crate) fn leading_term(&self) -> Option<u64> {
        let running = self.running.lock();
        running.node.as_ref().and_then(|node| node.leading_term())
    }
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Damaged { .. } => DAMAGED,
        _ => "store",
    }
}
