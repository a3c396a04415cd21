//! Three real nodes in one process, with stores in memory.

use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Create, CreateVolume, Existing, NewNode, Operation};
use meta_client::meta_core::ids::{Ino, Uuid, VolumeId};
use meta_client::meta_core::name::Name;
use meta_client::meta_core::query::{Query, QueryBody};
use meta_client::{Cluster, MetaSession, MetaUrl, SessionOptions, init, transport};
use meta_server::config::NodeConfig;
use meta_server::{AppliedGeneration, FreeSpace, Listener, Node, NodeParts, SystemClock};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::meta_client::MetaClient;
use proto::v1::server_frame::Body as Tell;
use raft_store::Incarnation;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// How long anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct PlentyOfSpace;

impl FreeSpace for PlentyOfSpace {
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

/// A cluster with one volume.
pub(crate) struct Three {
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) addrs: Vec<String>,
    pub(crate) volume: VolumeId,
}

impl Three {
    /// Starts all nodes, each with these lines below `[raft]`.
    pub(crate) async fn start(raft: &str) -> Self {
        Self::start_each([raft; 3]).await
    }

    /// Starts all nodes, which leave the volume at its level.
    pub(crate) async fn staying() -> Self {
        Self::start_with([""; 3], "raise_levels = false\n").await
    }

    /// Starts the nodes, each with its lines below `[raft]`.
    pub(crate) async fn start_each(raft: [&str; 3]) -> Self {
        Self::start_with(raft, "").await
    }

    async fn start_with(raft: [&str; 3], more: &str) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        }
        let addr = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let addrs: Vec<_> = listeners.iter().map(addr).collect();
        let mut nodes = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            nodes.push(Some(node_with(at, listener, &addrs, raft[at], more).await));
        }
        init(&addrs[0], PATIENCE).await.expect("a cluster");
        let cluster = Cluster::connect(&addrs, PATIENCE).await.expect("a leader");
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([7; 16]),
            block_bytes: 4 << 20,
            storage: b"{}".to_vec(),
        };
        let volume = cluster.create_volume(create).await.expect("a volume");
        Self {
            nodes,
            addrs,
            volume,
        }
    }

    pub(crate) async fn session(&self, options: SessionOptions) -> MetaSession {
        let url = MetaUrl {
            addrs: self.addrs.clone(),
            volume: "vol".to_owned(),
        };
        MetaSession::open(&url, options).await.expect("a session")
    }

    /// The place of the leader, as soon as all that run agree on one.
    pub(crate) async fn leader(&self) -> usize {
        let mut found = None;
        until("one node leads", async || {
            let leads = |at: &usize| self.nodes[*at].as_ref().is_some_and(Node::leads);
            let leaders: Vec<_> = (0..3).filter(leads).collect();
            found = leaders.first().copied();
            leaders.len() == 1
        })
        .await;
        found.expect("one leads")
    }

    /// A lookup of a name in the root.
    pub(crate) fn lookup(&self, name: &str) -> v1::Query {
        v1::Query::from(&Query {
            volume: self.volume,
            caller: Caller::root(),
            body: lookup(name),
        })
    }
}

pub(crate) async fn node(at: usize, listener: TcpListener, addrs: &[String], raft: &str) -> Node {
    node_with(at, listener, addrs, raft, "").await
}

async fn node_with(
    at: usize,
    listener: TcpListener,
    addrs: &[String],
    raft: &str,
    more: &str,
) -> Node {
    let mut text = format!(
        "node_id = {}\nlisten = \"{}\"\ndata_dir = \"/nowhere\"\nreserve_bytes = 0\n{more}",
        at + 1,
        addrs[at]
    );
    for (peer, addr) in addrs.iter().enumerate() {
        text += &format!("[[peers]]\nid = {}\naddr = \"{addr}\"\n", peer + 1);
    }
    text += &format!("[raft]\n{raft}");
    let config = NodeConfig::parse(&text).expect("a configuration");
    let applied = AppliedGeneration::default();
    let parts = NodeParts {
        listener: Listener::tcp(listener).expect("an address"),
        metrics_listener: None,
        store: raft_store::open_memory(applied.codec()).expect("a store"),
        applied,
        space: Box::new(PlentyOfSpace),
        wall: Arc::new(SystemClock),
        incarnation: Incarnation(at as u64 + 1),
    };
    Node::start_with(config, parts).await.expect("a node")
}

pub(crate) fn lookup(name: &str) -> QueryBody {
    QueryBody::Lookup {
        parent: Ino::ROOT,
        name: Name::new(name).expect("a name"),
    }
}

pub(crate) fn create(name: &str) -> Operation {
    Operation::Create(Create {
        parent: Ino::ROOT,
        name: Name::new(name).expect("a name"),
        mode: 0o644,
        node: NewNode::Regular,
        masked: 0,
        existing: Existing::Refuse,
    })
}

/// A stream to one node, spoken by hand.
pub(crate) struct Stream {
    out: mpsc::Sender<v1::ClientFrame>,
    answers: Streaming<v1::ServerFrame>,
    last_id: u64,
}

impl Stream {
    /// Says hello, as a client without any features.
    pub(crate) async fn open(addr: &str) -> (Self, v1::HelloReply) {
        Self::open_with(addr, 0).await
    }

    /// Says hello, as a client with features.
    pub(crate) async fn open_with(addr: &str, features: u64) -> (Self, v1::HelloReply) {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
        let channel = transport::connect(&endpoint).await.expect("connected");
        let (out, frames) = mpsc::channel(16);
        let hello = Ask::Hello(v1::Hello {
            min_version: 1,
            max_version: 1,
            features,
            ..v1::Hello::default()
        });
        let first = v1::ClientFrame {
            id: 1,
            body: Some(hello),
        };
        out.send(first).await.expect("there is room");
        let mut client = MetaClient::new(channel);
        let stream = client.connect(ReceiverStream::new(frames)).await;
        let answers = stream.expect("a stream").into_inner();
        let mut stream = Self {
            out,
            answers,
            last_id: 1,
        };
        match stream.next().await {
            Tell::Hello(reply) => (stream, reply),
            other => panic!("{other:?}"),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, body: Ask) -> Tell {
        self.last_id += 1;
        let frame = v1::ClientFrame {
            id: self.last_id,
            body: Some(body),
        };
        self.out.send(frame).await.expect("the stream stands");
        self.next().await
    }

    async fn next(&mut self) -> Tell {
        let frame = self.answers.message().await.expect("the stream stands");
        let frame = frame.expect("a frame");
        assert_eq!(frame.id, self.last_id);
        frame.body.expect("a body")
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !so().await {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
