//! What differs from one test cluster to the next.

use crate::binaries::Build;
use crate::network::{Hub, Space, Subnet};
use anyhow::Result;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A test cluster's settings. `None` leaves a setting to the node's default.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// In the names of its directory.
    pub name: String,
    /// Voters that it begins with.
    pub nodes: u64,
    /// Log entries between snapshots.
    pub snapshot_entries: Option<u64>,
    /// Log entries kept behind a snapshot.
    pub keep_entries: Option<u64>,
    /// Free bytes under which a node refuses to grow. 0 unless set, so that tests run on a full disk.
    pub reserve_bytes: u64,
    /// After how long a silent session ends.
    pub session_ttl_ms: Option<u64>,
    /// Bytes of changelog that are kept.
    pub changelog_retain_bytes: Option<u64>,
    /// Bytes of rows that a node keeps in memory.
    pub cache_bytes: Option<u64>,
    /// Bytes of a file of the log.
    pub log_file_bytes: Option<u64>,
    /// `worker_threads`, else the node's default.
    pub worker_threads: Option<u16>,
    /// Whether volumes are raised to the newest level that all read.
    pub raise_levels: bool,
    /// Whether leaders answer reads under leases.
    pub lease_reads: bool,
    /// Whether the nodes can be parted from each other.
    pub partitions: bool,
    /// Where the nodes keep their data, instead of the cluster's own directory.
    pub data_root: Option<PathBuf>,
    /// Whether each node's clock can be set wrong.
    pub clocks: bool,
    /// Whether each node's disk can be made slow or bad.
    pub disks: bool,
    /// Whether each node keeps its data on a file system of its own, whose power can be cut.
    pub images: bool,
    /// Which build its nodes are started from, until one is told otherwise.
    pub build: Build,
    /// Where nodes meet that have network namespaces of their own; on loopback if there is none.
    pub hub: Option<Arc<Hub>>,
}

/// The ports of a node that has all for itself.
const PORT: u16 = 7_000;
const METRICS_PORT: u16 = 7_001;

impl ClusterOptions {
    /// `nodes` voters and no special settings.
    pub fn new(name: &str, nodes: u64) -> Self {
        Self {
            name: name.to_owned(),
            nodes,
            snapshot_entries: None,
            keep_entries: None,
            reserve_bytes: 0,
            session_ttl_ms: None,
            changelog_retain_bytes: None,
            cache_bytes: None,
            log_file_bytes: None,
            worker_threads: None,
            raise_levels: true,
            lease_reads: false,
            partitions: false,
            data_root: None,
            clocks: false,
            disks: false,
            images: false,
            build: Build::This,
            hub: None,
        }
    }
}

/// Where a node listens.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) id: u64,
    pub(super) addr: String,
    pub(super) metrics: String,
    pub(super) data: PathBuf,
    /// The number of milliseconds that its clock is wrong by, as text.
    pub(super) clock: Option<PathBuf>,
    /// See [`DiskControl`](super::DiskControl).
    pub(super) disk: Option<PathBuf>,
    /// Its own network, if it has one.
    pub(super) space: Option<Arc<Space>>,
    /// Not one of those that the cluster began with.
    pub(super) came_later: bool,
}

impl Seat {
    /// A seat at free ports of loopback, or in a namespace.
    pub(super) fn new(
        id: u64,
        dir: &Path,
        options: &ClusterOptions,
        subnet: Option<&Subnet>,
        came_later: bool,
    ) -> Result<Self> {
        let space = subnet.map(|subnet| subnet.space(id)).transpose()?;
        let (addr, metrics) = match &space {
            Some(space) => {
                let at = |port| format!("{}:{port}", space.addr());
                (at(PORT), at(METRICS_PORT))
            }
            None => (crate::port::free_addr()?, crate::port::free_addr()?),
        };
        let file = |kind: &str| dir.join(format!("node{id}.{kind}"));
        let root = options.data_root.as_deref().unwrap_or(dir);
        let own = root.join(format!("node{id}"));
        Ok(Self {
            id,
            addr,
            metrics,
            // Not the root of a file system, which has other things in it.
            data: if options.images {
                own.join("data")
            } else {
                own
            },
            clock: options.clocks.then(|| file("clock")),
            disk: options.disks.then(|| file("disk")),
            space,
            came_later,
        })
    }
}

/// The text of node.toml.
pub(super) fn node_toml(options: &ClusterOptions, seat: &Seat, peers: &[(u64, String)]) -> String {
    let mut text = format!(
        "node_id = {}\nlisten = \"{}\"\nmetrics_listen = \"{}\"\ndata_dir = \"{}\"\n\
         reserve_bytes = {}\n",
        seat.id,
        seat.addr,
        seat.metrics,
        seat.data.display(),
        options.reserve_bytes
    );
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{line}");
    };
    if seat.space.is_some() {
        line("insecure_network = true".to_owned());
    }
    if let Some(ttl) = options.session_ttl_ms {
        line(format!("session_ttl_ms = {ttl}"));
    }
    if let Some(bytes) = options.changelog_retain_bytes {
        line(format!("changelog_retain_bytes = {bytes}"));
    }
    if let Some(bytes) = options.cache_bytes {
        line(format!("cache_bytes = {bytes}"));
    }
    if let Some(bytes) = options.log_file_bytes {
        line(format!("log_file_bytes = {bytes}"));
    }
    if let Some(threads) = options.worker_threads {
        line(format!("worker_threads = {threads}"));
    }
    if !options.raise_levels {
        line("raise_levels = false".to_owned());
    }
    for (id, addr) in peers {
        line(format!("[[peers]]\nid = {id}\naddr = \"{addr}\""));
    }
    if options.snapshot_entries.is_some() || options.keep_entries.is_some() || options.lease_reads {
        line("[raft]".to_owned());
    }
    if options.lease_reads {
        line("lease_reads = true".to_owned());
    }
    if let Some(entries) = options.snapshot_entries {
        line(format!("snapshot_entries = {entries}"));
    }
    if let Some(entries) = options.keep_entries {
        line(format!("keep_entries = {entries}"));
    }
    text
}
