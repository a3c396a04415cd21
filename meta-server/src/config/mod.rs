//! The node's configuration file.
//!
//! The file is read field by field rather than through serde, so that every mistake is told in
//! one line that names the field and says what would be right.

mod fields;

use fields::Fields;
use raft_store::NodeId;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Voters that one cluster may have.
const PEERS_MAX: usize = 9;

/// A mistake in the configuration: one line.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct ConfigError {
    file: String,
    message: String,
}

/// A checked configuration of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// This node's number, from 1.
    pub node_id: NodeId,
    /// Where clients, peers and administrators connect.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served over HTTP.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the node keeps its log and state.
    pub data_dir: PathBuf,
    /// Whether plain-text traffic may leave the machine.
    pub insecure_network: bool,
    /// Free bytes below which commands that grow the store are refused.
    pub reserve_bytes: u64,
    /// Bytes of rows that are kept in memory.
    pub cache_bytes: usize,
    /// Bytes of a file of the Raft log, of which a few are kept to be written over.
    pub log_file_bytes: u64,
    /// Threads that serve streams and run Raft, beside the one that applies, the one that writes the log,
    /// and those that read much.
    pub worker_threads: usize,
    /// How long a session may be silent.
    pub session_ttl: Duration,
    /// Bytes of changelog that each volume keeps.
    pub changelog_retain_bytes: u64,
    /// How long each volume keeps a record of its changelog.
    pub changelog_retain: Duration,
    /// Whether this node, as a leader, raises volumes to the newest level that all read.
    pub raise_levels: bool,
    /// All voters by id, this node included: `host:port` of their `listen`.
    pub peers: BTreeMap<NodeId, String>,
    /// How the replicas keep together.
    pub raft: RaftTimes,
    /// How the node writes its log.
    pub log: LogConfig,
}

/// Times and sizes of the Raft group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RaftTimes {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// The shortest silence of a leader after which a follower stands for election. A follower
    /// first waits out the leader's lease, which is `election_max_ms`.
    pub election_min_ms: u64,
    /// The longest such silence.
    pub election_max_ms: u64,
    /// Log entries between two snapshots.
    pub snapshot_entries: u64,
    /// Log entries kept behind a snapshot, for followers that are a little late.
    pub keep_entries: u64,
    /// Whether this node answers reads under a lease while it leads, and keeps to what leases of
    /// others rest on. A leader has one only while all members have this.
    pub lease_reads: bool,
}

impl Default for RaftTimes {
    fn default() -> Self {
        // A dead leader is replaced after `election_max + election_min..max`, one round trip for
        // the votes and one fsync: 1.2 to 1.6 s with these.
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_entries: 100_000,
            keep_entries: 20_000,
            lease_reads: false,
        }
    }
}

/// How the node writes its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// A level, or a filter as in `info,meta_server=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object.
    Json,
}

impl NodeConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One line that names the file and the field.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            file: file.clone(),
            message: error.to_string(),
        })?;
        Self::parse(&text).map_err(|message| ConfigError { file, message })
    }

    /// Checks a configuration's text.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Fields::parse(text)?;
        let node_id = fields
            .number("node_id", 1..=u64::from(u32::MAX))?
            .ok_or(missing("node_id"))?;
        let listen = address(&mut fields, "listen")?.ok_or(missing("listen"))?;
        let metrics_listen = address(&mut fields, "metrics_listen")?;
        let data_dir = fields.text("data_dir")?.ok_or(missing("data_dir"))?;
        let insecure_network = fields.switch("insecure_network")?.unwrap_or(false);
        let reserve_bytes = fields
            .number("reserve_bytes", 0..=1 << 50)?
            .unwrap_or(1 << 30);
        let cache_bytes = fields
            .number("cache_bytes", 8 << 20..=1 << 40)?
            .unwrap_or(256 << 20);
        let log_file_bytes = fields
            .number("log_file_bytes", 64 << 10..=1 << 30)?
            .unwrap_or(16 << 20);
        let worker_threads = fields.number("worker_threads", 1..=1024)?;
        let ttl_ms = fields
            .number("session_ttl_ms", 1000..=86_400_000)?
            .unwrap_or(60_000);
        let changelog_retain_bytes = fields
            .number("changelog_retain_bytes", 1 << 20..=1 << 50)?
            .unwrap_or(1 << 30);
        let retain_seconds = fields
            .number("changelog_retain_seconds", 60..=10 * 365 * 86_400)?
            .unwrap_or(7 * 86_400);
        let raise_levels = fields.switch("raise_levels")?.unwrap_or(true);
        let peers = peers(&mut fields)?;
        let raft = raft(fields.table("raft")?)?;
        let log = log(fields.table("log")?)?;
        fields.finish()?;
        if data_dir.is_empty() {
            return Err("data_dir: must not be empty".to_owned());
        }
        let config = Self {
            node_id,
            listen,
            metrics_listen,
            data_dir: PathBuf::from(data_dir),
            insecure_network,
            reserve_bytes,
            cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
            log_file_bytes,
            worker_threads: worker_threads
                .and_then(|threads| usize::try_from(threads).ok())
                .unwrap_or_else(default_worker_threads),
            session_ttl: Duration::from_millis(ttl_ms),
            changelog_retain_bytes,
            changelog_retain: Duration::from_secs(retain_seconds),
            raise_levels,
            peers: if peers.is_empty() {
                single(node_id, listen)
            } else {
                peers
            },
            raft,
            log,
        };
        config.check_peers()?;
        config.check_network()?;
        Ok(config)
    }

    fn check_peers(&self) -> Result<(), String> {
        match self.peers.get(&self.node_id) {
            None => Err(format!(
                "peers: must include this node (id {}), and lists only {:?}",
                self.node_id,
                self.peers.keys().collect::<Vec<_>>()
            )),
            Some(own) if !same_place(own, self.listen) => Err(format!(
                "peers: the entry of this node (id {}) says {own}, but listen says {}",
                self.node_id, self.listen
            )),
            Some(_) => Ok(()),
        }
    }

    /// Nothing proves who is at the other end yet, so traffic stays on the machine unless the
    /// administrator says otherwise.
    fn check_network(&self) -> Result<(), String> {
        if self.insecure_network {
            return Ok(());
        }
        let advice = "is not on loopback, where anybody could read and change the volume; \
                      bind to 127.0.0.1, or set insecure_network = true on a network you trust";
        if !self.listen.ip().is_loopback() {
            return Err(format!("listen: {} {advice}", self.listen));
        }
        match self.metrics_listen {
            Some(metrics) if !metrics.ip().is_loopback() => {
                Err(format!("metrics_listen: {metrics} {advice}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the peer's address can be the address this node listens on: the port must agree, and
/// the host too if both are literal and `listen` is not a wildcard.
fn same_place(peer: &str, listen: SocketAddr) -> bool {
    let Some((host, port)) = peer.rsplit_once(':') else {
        return false;
    };
    if listen.port() != 0 && port != listen.port().to_string() {
        return false;
    }
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    listen.ip().is_unspecified() || literal.map_or(true, |ip| ip == listen.ip())
}

fn single(node_id: NodeId, listen: SocketAddr) -> BTreeMap<NodeId, String> {
    BTreeMap::from([(node_id, listen.to_string())])
}

/// Half of the processors, at least one: the other half is busy applying, with the log, and with
/// clients' data on small machines. More threads than that mostly wake each other.
fn default_worker_threads() -> usize {
    let processors = std::thread::available_parallelism();
    processors.map_or(1, |processors| (processors.get() / 2).max(1))
}

fn missing(field: &str) -> String {
    format!("{field}: missing")
}

fn address(fields: &mut Fields, name: &str) -> Result<Option<SocketAddr>, String> {
    let Some(text) = fields.text(name)? else {
        return Ok(None);
    };
    let parsed = text.parse().map_err(|_| {
        format!(
            "{}: must be IP:PORT, as in \"127.0.0.1:7101\", not {text:?}",
            fields.name(name)
        )
    })?;
    Ok(Some(parsed))
}

fn peers(fields: &mut Fields) -> Result<BTreeMap<NodeId, String>, String> {
    let mut peers = BTreeMap::new();
    for mut peer in fields.tables("peers")? {
        let id = peer.number("id", 1..=u64::from(u32::MAX))?;
        let id = id.ok_or_else(|| missing(&peer.name("id")))?;
        let addr = peer
            .text("addr")?
            .ok_or_else(|| missing(&peer.name("addr")))?;
        if !is_host_port(&addr) {
            let name = peer.name("addr");
            return Err(format!("{name}: must be HOST:PORT, not {addr:?}"));
        }
        let name = peer.name("id");
        peer.finish()?;
        if peers.values().any(|other| *other == addr) {
            return Err(format!("peers: two entries have the address {addr}"));
        }
        if peers.insert(id, addr).is_some() {
            return Err(format!("{name}: two peers have the id {id}"));
        }
    }
    if peers.len() > PEERS_MAX {
        return Err(format!(
            "peers: {} voters, at most {PEERS_MAX} work",
            peers.len()
        ));
    }
    Ok(peers)
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    !host.is_empty() && host_is_plain && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The shortest promise is far longer than clocks are read apart, and the longest one is waited out at
/// each start and stop.
const LEASE_READS_ELECTION_MAX_MS: RangeInclusive<u64> = 100..=12_000;

fn raft(fields: Option<Fields>) -> Result<RaftTimes, String> {
    let usual = RaftTimes::default();
    let Some(mut fields) = fields else {
        return Ok(usual);
    };
    let entries = 100..=100_000_000;
    let times = RaftTimes {
        heartbeat_ms: fields
            .number("heartbeat_ms", 10..=10_000)?
            .unwrap_or(usual.heartbeat_ms),
        election_min_ms: fields
            .number("election_min_ms", 50..=60_000)?
            .unwrap_or(usual.election_min_ms),
        election_max_ms: fields
            .number("election_max_ms", 50..=120_000)?
            .unwrap_or(usual.election_max_ms),
        snapshot_entries: fields
            .number("snapshot_entries", entries)?
            .unwrap_or(usual.snapshot_entries),
        keep_entries: fields
            .number("keep_entries", 0..=100_000_000)?
            .unwrap_or(usual.keep_entries),
        lease_reads: fields.switch("lease_reads")?.unwrap_or(usual.lease_reads),
    };
    fields.finish()?;
    if times.election_min_ms < 2 * times.heartbeat_ms {
        return Err(format!(
            "raft.election_min_ms: {} must be at least twice raft.heartbeat_ms ({})",
            times.election_min_ms, times.heartbeat_ms
        ));
    }
    if times.election_max_ms <= times.election_min_ms {
        return Err(format!(
            "raft.election_max_ms: {} must be above raft.election_min_ms ({})",
            times.election_max_ms, times.election_min_ms
        ));
    }
    let range = LEASE_READS_ELECTION_MAX_MS;
    if times.lease_reads && !range.contains(&times.election_max_ms) {
        return Err(format!(
            "raft.election_max_ms: {} must be from {} to {} with raft.lease_reads",
            times.election_max_ms,
            range.start(),
            range.end()
        ));
    }
    Ok(times)
}

fn log(fields: Option<Fields>) -> Result<LogConfig, String> {
    let mut log = LogConfig {
        format: LogFormat::Text,
        level: "info".to_owned(),
    };
    let Some(mut fields) = fields else {
        return Ok(log);
    };
    if let Some(format) = fields.text("format")? {
        log.format = match format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => {
                return Err(format!(
                    "log.format: must be \"text\" or \"json\", not {format:?}"
                ));
            }
        };
    }
    if let Some(level) = fields.text("level")? {
        crate::logging::check_level(&level).map_err(|why| format!("log.level: {why}"))?;
        log.level = level;
    }
    fields.finish()?;
    Ok(log)
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
