//! A running node: its parts put together, started in order and stopped in order.

mod core;
pub(crate) mod handover;
#[cfg(feature = "rocksdb")]
pub(crate) mod identity;
pub(crate) mod initialise;
mod leased;
mod log_bound;
pub(crate) mod members;

pub(crate) use self::core::{Answered, Core, Raft, has_majority, other_members};
use self::core::{MAJORITY_TIMEOUTS, listings};

use crate::answers::Budget;
use crate::changelog::ChangelogService;
use crate::changelog::followers::Followers;
use crate::clock::{ClockCheck, WallClock};
use crate::config::NodeConfig;
use crate::generations::{self, AppliedGeneration, Generations};
use crate::leader::held::HeldRounds;
use crate::leader_lease::LeaderLease;
use crate::leases::Leases;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::mirror::board::MirrorBoard;
use crate::network::{Channels, Network};
use crate::proposer::{Proposer, ProposerParts};
use crate::raft_config::raft_config;
use crate::reads::{ReadParts, Reads};
use crate::service::{
    MESSAGE_BYTES_MAX, admin::AdminService, meta::MetaService, raft::RaftService,
};
use crate::session_table::SessionTable;
#[cfg(feature = "rocksdb")]
use crate::space::DiskSpace;
use crate::space::{FreeSpace, LOOK_INTERVAL, SpaceWatch};
use crate::{http, leader};
use log_bound::{LOG_INTERVAL, LogBound};
use parking_lot::Mutex;
use proto::ProstCodec;
use proto::v1;
use raft_store::{Incarnation, NodeId, Store, StoreError};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

/// What is given to requests under way at a stop.
const DRAIN: Duration = Duration::from_secs(3);
/// A read round without a majority ends after so many election timeouts.
const READ_TIMEOUTS: u32 = 2;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("{field}: cannot listen on {addr}: {source}")]
    Listen {
        /// Which field of the configuration.
        field: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("data_dir: {}: {source}", dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory is another node's.
    #[error(
        "data_dir: {} belongs to node {owner}, and this is node {node_id}; every node needs its own",
        dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who wanted it.
        node_id: NodeId,
    },
    /// The store cannot be opened.
    #[error("data_dir: {0}")]
    Store(#[from] StoreError),
    /// openraft refuses its settings.
    #[error("raft: {0}")]
    Settings(#[from] openraft::ConfigError),
    /// The node's state cannot be loaded.
    #[error("the node cannot start from what is stored: {0}")]
    Raft(String),
}

/// What a node is built from. [`Node::start`] makes the usual parts; tests put in their own.
#[derive(Debug)]
pub struct NodeParts {
    /// Where clients, peers and administrators connect.
    pub listener: Listener,
    /// Where health and metrics are served.
    pub metrics_listener: Option<TcpListener>,
    /// Log and state.
    pub store: Store,
    /// What the store's codec notes.
    pub applied: AppliedGeneration,
    /// How much room is left.
    pub space: Box<dyn FreeSpace>,
    /// The time of day.
    pub wall: Arc<dyn WallClock>,
    /// Of what is in the store.
    pub incarnation: Incarnation,
}

/// A running node.
pub struct Node {
    core: Arc<Core>,
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    /// Ends the clients' streams and takes in no new connection.
    stop_serving: CancellationToken,
    /// Ends everything else.
    stop: CancellationToken,
    /// The port, the clients' streams and their requests.
    serving: TaskTracker,
    /// Everything else.
    tasks: TaskTracker,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("core", &self.core)
            .field("addr", &self.addr)
            .finish()
    }
}

impl Node {
    /// Opens the store and the ports, and starts.
    ///
    /// # Errors
    /// [`StartError`] names the field of the configuration that is to blame.
    #[cfg(feature = "rocksdb")]
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let listener = bind("listen", config.listen).await?;
        let listener = Listener::tcp(listener).map_err(unbound(config.listen))?;
        let metrics_listener = match config.metrics_listen {
            Some(addr) => Some(bind("metrics_listen", addr).await?),
            None => None,
        };
        let incarnation = identity::claim(&config.data_dir, config.node_id)?;
        let options = raft_store::StoreOptions {
            cache_bytes: config.cache_bytes,
            log_file_bytes: config.log_file_bytes,
            ..raft_store::StoreOptions::new(config.data_dir.clone())
        };
        // Opening reads and checks the whole log.
        let applied = AppliedGeneration::default();
        let codec = applied.codec();
        let opening = tokio::task::spawn_blocking(move || raft_store::open(&options, codec));
        let store = opening
            .await
            .map_err(|error| StartError::Raft(error.to_string()))??;
        let space = Box::new(DiskSpace::new(config.data_dir.clone()));
        let wall = crate::clock::of_process();
        let parts = NodeParts {
            listener,
            metrics_listener,
            store,
            applied,
            space,
            wall,
            incarnation,
        };
        Self::start_with(config, parts).await
    }

    /// Starts a node from its parts.
    ///
    /// # Errors
    /// [`StartError`] if the parts do not fit the configuration or the store cannot be read.
    pub async fn start_with(config: NodeConfig, parts: NodeParts) -> Result<Self, StartError> {
        let NodeParts {
            listener,
            metrics_listener,
            store,
            applied,
            space,
            wall,
            incarnation,
        } = parts;
        let addr = listener.addr();
        let metrics_addr = metrics_listener.as_ref().and_then(|l| l.local_addr().ok());
        let data_dir = config.data_dir.clone();
        let space =
            SpaceWatch::new(space, config.reserve_bytes).map_err(|source| StartError::DataDir {
                dir: data_dir,
                source,
            })?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let outside = Outside {
            space: Arc::new(space),
            applied,
            wall,
            incarnation,
        };
        let core = assemble(config, store, outside, &tasks, &stop).await?;
        let node = Self {
            core,
            addr,
            metrics_addr,
            stop_serving: CancellationToken::new(),
            stop,
            serving: TaskTracker::new(),
            tasks,
        };
        node.spawn_services(listener, metrics_listener);
        node.core.raft.run();
        tracing::info!(
            node_id = node.core.config.node_id,
            listen = %node.addr,
            metrics = ?node.metrics_addr,
            data_dir = %node.core.config.data_dir.display(),
            "the node has started"
        );
        Ok(node)
    }

    fn spawn_services(&self, listener: Listener, metrics_listener: Option<TcpListener>) {
        let core = &self.core;
        if let Some(listener) = metrics_listener {
            self.tasks
                .spawn(http::serve(listener, Arc::clone(core), self.stop.clone()));
        }
        self.tasks
            .spawn(until(self.stop.clone(), watch_space(Arc::clone(core))));
        self.tasks
            .spawn(until(self.stop.clone(), watch_log(Arc::clone(core))));
        self.tasks
            .spawn(until(self.stop.clone(), watch_readiness(Arc::clone(core))));
        self.tasks
            .spawn(until(self.stop.clone(), watch_raft(Arc::clone(core))));
        if let Some(quarantine) = core.leader_lease.quarantine() {
            let ending = end_quarantine(Arc::clone(core), quarantine);
            self.tasks.spawn(until(self.stop.clone(), ending));
        }
        self.tasks
            .spawn(leader::run(Arc::clone(core), self.stop.clone()));
        let serving = self.stop_serving.clone();
        let services = Services {
            meta: MetaService::new(Arc::clone(core), self.serving.clone(), serving.clone()),
            changelog: ChangelogService::new(
                Arc::clone(core),
                self.serving.clone(),
                serving.clone(),
            ),
        };
        let core = Arc::clone(core);
        self.serving.spawn(serve_grpc(
            listener,
            core,
            services,
            serving,
            self.stop.clone(),
        ));
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it serves health and metrics.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Whether it leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.core.lead().leads
    }

    /// The term in which it leads, as far as it knows.
    pub fn leading_term(&self) -> Option<u64> {
        let lead = self.core.lead();
        lead.leads.then_some(lead.term)
    }

    /// Reads that it answered under its lease as a leader, since it was started.
    pub fn lease_reads(&self) -> u64 {
        self.core.metrics.lease_reads.get()
    }

    /// Why it is not ready, if it is not.
    pub fn not_ready(&self) -> Option<String> {
        self.core.not_ready()
    }

    /// Waits until the node cannot go on, and says why. It must then exit with a failure.
    pub async fn failed(&self) -> String {
        let mut failed = self.core.failed.subscribe();
        tokio::select! {
            reason = self.core.poison.wait() => reason,
            reason = failed.wait_for(Option::is_some) => match reason {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_closed) => "the node is gone".to_owned(),
            },
        }
    }

    /// Stops cleanly: hands leadership over, lets requests under way finish, closes the store.
    pub async fn shutdown(self) {
        self.core.ready.store(false, Ordering::Release);
        if self.core.failure().is_none() && self.core.lead().leads && handover_possible(&self.core)
        {
            handover::give_away(&self.core).await;
        }
        self.stop_serving.cancel();
        // The store stays open, and so locked: the next start may be one that knows nothing of what
        // this one has promised.
        let core = Arc::clone(&self.core);
        self.close().await;
        tokio::time::sleep(core.leader_lease.owed()).await;
    }

    /// Stops at once, as after a failure: no hand-over.
    pub async fn abandon(self) {
        self.stop_serving.cancel();
        self.close().await;
    }

    async fn close(self) {
        // Streams end with their last answer, and the port with its last stream.
        self.serving.close();
        let limit = if self.core.failure().is_none() {
            DRAIN
        } else {
            Duration::ZERO
        };
        if tokio::time::timeout(limit, self.serving.wait())
            .await
            .is_err()
        {
            tracing::warn!("some clients did not leave in time");
        }
        self.stop.cancel();
        if let Err(error) = self.core.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not stop cleanly");
        }
        self.tasks.close();
        let ended = async {
            self.serving.wait().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("some work did not end in time");
        }
        tracing::info!(node_id = self.core.config.node_id, "the node has stopped");
    }
}

#[cfg(feature = "rocksdb")]
async fn bind(field: &'static str, addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| StartError::Listen {
            field,
            addr,
            source,
        })
}

#[cfg(feature = "rocksdb")]
fn unbound(addr: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Listen {
        field: "listen",
        addr,
        source,
    }
}

fn handover_possible(core: &Core) -> bool {
    core.raft.voter_ids().count() > 1
}

/// What a node did not make itself.
struct Outside {
    space: Arc<SpaceWatch>,
    applied: AppliedGeneration,
    wall: Arc<dyn WallClock>,
    incarnation: Incarnation,
}

/// How this node reaches its peers, and what it learns of them on the way.
fn network(config: &NodeConfig, outside: Outside) -> Network {
    let Outside {
        space,
        applied,
        wall,
        incarnation: _,
    } = outside;
    let timeout = Duration::from_millis(config.raft.election_max_ms);
    let promise = config.raft.lease_reads.then_some(timeout);
    Network {
        node_id: config.node_id,
        channels: Arc::new(Channels::new(config.peers.clone())),
        leader_lease: Arc::new(LeaderLease::new(promise, Arc::clone(&wall))),
        wall,
        clock: Arc::new(ClockCheck::default()),
        space,
        generations: Arc::new(Generations::new(applied)),
        metrics: Arc::new(Metrics::default()),
        stall: (timeout * 2).max(Duration::from_secs(2)),
    }
}

/// Up to which generation commands may be in the log, as the state tells.
fn let_in(store: &Store) -> Result<u32, StartError> {
    let told = store.reader.with_view(|view| generations::let_in_by(view));
    told.and_then(|told| told)
        .map_err(|fatal| StartError::Raft(fatal.to_string()))
}

fn proposer(raft: Raft, network: &Network, lease: Duration) -> Proposer {
    let parts = ProposerParts {
        own: network.node_id,
        wall: Arc::clone(&network.wall),
        clock: Arc::clone(&network.clock),
        space: Arc::clone(&network.space),
        metrics: Arc::clone(&network.metrics),
        generations: Arc::clone(&network.generations),
        majority_limit: lease * MAJORITY_TIMEOUTS,
    };
    Proposer::new(raft, Arc::new(ProstCodec), parts)
}

/// Builds Raft and everything that shares it. Raft does not run yet.
async fn assemble(
    config: NodeConfig,
    store: Store,
    outside: Outside,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<Core>, StartError> {
    let incarnation = outside.incarnation;
    let lease = Duration::from_millis(config.raft.election_max_ms);
    let network = network(&config, outside);
    network.generations.learn_let_in(let_in(&store)?);
    let (settings, peers) = (Arc::new(raft_config(&config)?), network.clone());
    let raft = Raft::build(config.node_id, settings, peers, store.log, store.machine).await;
    let raft = raft.map_err(|fatal| StartError::Raft(fatal.to_string()))?;
    let reads = ReadParts {
        raft: raft.clone(),
        network: network.clone(),
        reader: store.reader.clone(),
        majority_limit: lease * READ_TIMEOUTS,
        follow_limit: lease,
    };
    let reads = Reads::start(reads, tasks, stop);
    let proposer = proposer(raft.clone(), &network, lease);
    let Network {
        channels,
        wall,
        clock,
        space,
        generations,
        leader_lease,
        metrics,
        ..
    } = network;
    Ok(Arc::new(Core {
        config,
        incarnation,
        raft,
        reader: store.reader,
        poison: store.poison,
        channels,
        wall,
        clock,
        space,
        generations,
        leader_lease,
        leases: Leases::new(Arc::clone(&metrics)),
        metrics,
        reads,
        proposer,
        sessions: SessionTable::default(),
        held: HeldRounds::default(),
        orphan_made: Notify::new(),
        to_count: Notify::new(),
        to_clone: Notify::new(),
        mirror_made: Notify::new(),
        mirrors: MirrorBoard::default(),
        volume_made: Notify::new(),
        followers: Followers::default(),
        ready: AtomicBool::new(false),
        cluster: Mutex::new(None),
        failed: watch::Sender::new(None),
        listings: listings(),
        budget: Budget::default(),
    }))
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// What streams to clients.
struct Services {
    meta: MetaService,
    changelog: ChangelogService,
}

async fn serve_grpc(
    listener: Listener,
    core: Arc<Core>,
    services: Services,
    stop_serving: CancellationToken,
    stop: CancellationToken,
) {
    let raft = v1::raft_server::RaftServer::new(RaftService::new(Arc::clone(&core)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let meta = v1::meta_server::MetaServer::new(services.meta)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let changelog = v1::changelog_server::ChangelogServer::new(services.changelog)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let admin = v1::admin_server::AdminServer::new(AdminService::new(Arc::clone(&core)));
    let router = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(1024)
        .add_service(raft)
        .add_service(meta)
        .add_service(changelog)
        .add_service(admin);
    let serving = listener.serve(router, stop_serving.cancelled_owned());
    // The graceful end waits for peers and clients to leave; they get no longer than the node.
    let served = tokio::select! {
        served = serving => served,
        () = stop.cancelled() => Ok(()),
    };
    if let Err(error) = served {
        core.fail(format!("the port stopped: {error}"));
    }
}

async fn watch_space(core: Arc<Core>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let looking = Arc::clone(&core.space);
        // A panic in it shows in the log; the last reading stays.
        let _looked = raft_store::offload(move || looking.look()).await;
    }
}

/// Bounds the log in bytes, and gives its space back when the disk is short.
async fn watch_log(core: Arc<Core>) {
    let mut bound = LogBound::default();
    loop {
        tokio::time::sleep(LOG_INTERVAL).await;
        bound.look(&core).await;
    }
}

/// Lets a node stand for election once nobody relies any more on what it has forgotten.
async fn end_quarantine(core: Arc<Core>, quarantine: Duration) {
    tokio::time::sleep(quarantine).await;
    core.raft.runtime_config().elect(true);
}

/// Marks the node ready once it has applied what was committed when it started, and can take over
/// leadership.
async fn watch_readiness(core: Arc<Core>) {
    if core.raft.wait_for_recovery(None).await.is_ok() {
        tokio::time::sleep(core.leader_lease.quarantine_left()).await;
        core.ready.store(true, Ordering::Release);
        tracing::info!(node_id = core.config.node_id, "the node is ready");
    }
}

/// Raft stops by itself only when something is broken.
async fn watch_raft(core: Arc<Core>) {
    use openraft::async_runtime::WatchReceiver as _;
    let mut metrics = core.raft.metrics();
    loop {
        let state = metrics.borrow_watched().running_state.clone();
        if let Err(fatal) = state {
            core.fail(format!("Raft stopped: {fatal}"));
            return;
        }
        if metrics.changed().await.is_err() {
            // An orderly stop ends this loop before it ends Raft.
            core.fail("Raft's task has ended: look in the log for a panic".to_owned());
            return;
        }
    }
}
