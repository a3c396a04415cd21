//! More clients, connections, requests and answers than a node has room for: others are served, memory
//! is bounded, and what is refused says so.

use anyhow::{Context as _, Result, bail, ensure};
use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::process::{forget_peak, resident};
use jepsen::scratch::notice;
use jepsen::wait;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation, XattrMode};
use meta_client::meta_core::ids::{DentryNumber, Ino};
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::query::{Answer, Query, QueryBody};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(90);
const MIB: u64 = 1 << 20;
/// What the node keeps rows in.
const CACHE: u64 = 64 * MIB;
/// Beside the cache: 128 large answers of 2 MiB, commands of 128 MiB that are not answered, and what a
/// node has without any of this.
const BESIDE: u64 = (256 + 128 + 300) * MIB;
const SESSIONS: usize = 1_000;
const REQUESTS: usize = 10_000;
const IDLE: usize = 10_000;
/// Clients that never read.
const DEAF: u64 = 16;
/// Names in the directory that they list: more than one answer takes.
const NAMES: u64 = 6_000;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn create(parent: Ino, text: &str, node: NewNode) -> Operation {
    Operation::Create(Create {
        parent,
        name: name(text),
        mode: 0o755,
        node,
        masked: 0,
        existing: Existing::Refuse,
    })
}

async fn open(url: &str, slots: u32) -> Result<MetaSession> {
    let url: MetaUrl = url.parse()?;
    let options = SessionOptions {
        slots,
        open_for: PATIENCE,
        ..SessionOptions::default()
    };
    Ok(MetaSession::open(&url, options).await?)
}

async fn make(session: &MetaSession, parent: Ino, text: &str, node: NewNode) -> Result<Ino> {
    let made = session.execute(Caller::root(), create(parent, text, node));
    match made.await? {
        Success::Entry { attr, .. } => Ok(attr.ino),
        other => bail!("{text}: {other:?}"),
    }
}

/// Does something for each number below a count, some at once, and ends with the first error.
async fn each<F>(count: usize, at_once: usize, work: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..count {
        if tasks.len() == at_once {
            tasks.join_next().await.context("a task")???;
        }
        tasks.spawn(work(number));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Somebody who works all the while, and must not notice more than a delay.
struct Steady {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<Duration>>>,
}

impl Steady {
    fn begin(session: MetaSession, dir: Ino) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let text = format!("steady.{}", took.len());
                let ino = make(&session, dir, &text, NewNode::Regular).await?;
                let asked = session.query(Caller::root(), QueryBody::GetAttr { ino });
                ensure!(matches!(asked.await?, Answer::Attr(_)), "no attributes");
                took.push(begun.elapsed());
            }
            Ok(took)
        });
        Self { stop, task }
    }

    /// How it went, if nothing of it failed.
    async fn end(self) -> Result<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.task.await??;
        took.sort_unstable();
        ensure!(!took.is_empty(), "nothing was answered");
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let max = took[took.len() - 1];
        let count = took.len();
        Ok(format!(
            "{count} pairs, p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}"
        ))
    }
}

/// The node under test, and what is watched in each kind of overload.
struct Scene {
    cluster: Cluster,
    url: String,
    root: MetaSession,
    dir: Ino,
    listed: Ino,
}

impl Scene {
    async fn begin() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions {
            cache_bytes: Some(CACHE),
            ..ClusterOptions::new("overload", 1)
        });
        let cluster = cluster.await?;
        cluster.format("vol").await?;
        let url = cluster.url("vol");
        let root = open(&url, 64).await?;
        let dir = make(&root, Ino::ROOT, "steady", NewNode::Directory).await?;
        let listed = make(&root, Ino::ROOT, "listed", NewNode::Directory).await?;
        each(usize::try_from(NAMES)?, 64, |number| {
            let (root, text) = (root.clone(), format!("{number:0>200}"));
            async move {
                make(&root, listed, &text, NewNode::Regular).await?;
                Ok(())
            }
        })
        .await?;
        Ok(Self {
            cluster,
            url,
            root,
            dir,
            listed,
        })
    }

    /// Does something bad while somebody works, and tells what the node had in memory for it.
    async fn under(
        &mut self,
        what: &str,
        bad: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let pid = self.cluster.node(1)?.pid()?;
        forget_peak(pid)?;
        let before = resident(pid)?.now;
        let session = open(&self.url, 1).await?;
        let own = make(&self.root, self.dir, what, NewNode::Directory).await?;
        let steady = Steady::begin(session.clone(), own);
        bad(self).await.with_context(|| what.to_owned())?;
        let told = steady.end().await.with_context(|| what.to_owned())?;
        session.close().await;
        let peak = resident(pid)?.peak;
        notice(&format!(
            "overload: {what}: node {} to {} MiB; others: {told}",
            before / MIB,
            peak / MIB
        ));
        ensure!(peak < CACHE + BESIDE, "{what}: {} MiB", peak / MIB);
        Ok(())
    }

    fn addr(&mut self) -> Result<String> {
        Ok(self.cluster.node(1)?.addr().to_owned())
    }

    async fn stuck(&mut self) -> Result<u64> {
        let addr = self.cluster.node(1)?.metrics_addr().to_owned();
        let name = "curlew_meta_streams_stuck_total";
        let value = jepsen::http::metric(&addr, name, Duration::from_secs(5)).await;
        let value = value.map_err(anyhow::Error::msg)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        Ok(value as u64)
    }
}

/// Connections that say nothing are ended by the node.
async fn idle_connections(scene: &mut Scene) -> Result<()> {
    let addr = scene.addr()?;
    let connect = tokio::task::spawn_blocking(move || {
        let connect = |_| TcpStream::connect(&addr).context("a connection");
        (0..IDLE).map(connect).collect::<Result<Vec<_>>>()
    });
    let connections = connect.await??;
    let ended = tokio::task::spawn_blocking(move || {
        for mut connection in connections {
            connection.set_read_timeout(Some(PATIENCE))?;
            // Whatever the node says before the end.
            let mut said = Vec::new();
            connection.read_to_end(&mut said).context("not ended")?;
        }
        Ok::<(), anyhow::Error>(())
    });
    ended.await?
}

/// A client that keeps its stream, and reads nothing.
struct Deaf {
    _channel: Channel,
    _out: mpsc::Sender<v1::ClientFrame>,
    _answers: tonic::Streaming<v1::ServerFrame>,
}

fn large_question(listed: Ino) -> QueryBody {
    QueryBody::ReadDir {
        ino: listed,
        after: DentryNumber(0),
        entries_max: 4_096,
        with_attrs: true,
    }
}

/// Asks for a large answer a few times.
async fn one_listing(scene: &mut Scene) -> Result<()> {
    for _ in 0..50 {
        let asked = scene
            .root
            .query(Caller::root(), large_question(scene.listed));
        let answer = asked.await?;
        ensure!(matches!(answer, Answer::Entries { .. }), "{answer:?}");
    }
    Ok(())
}

/// Sends questions with large answers, and takes none of them.
async fn deaf(addr: &str, listed: Ino) -> Result<Deaf> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?
        .connect()
        .await?;
    let (out, frames) = mpsc::channel(512);
    let hello = v1::Hello {
        min_version: proto::limits::STREAM_VERSION_MIN,
        max_version: proto::limits::STREAM_VERSION_MAX,
        ..v1::Hello::default()
    };
    let body = Some(Ask::Hello(hello));
    out.send(v1::ClientFrame { id: 1, body }).await?;
    let query = Query {
        volume: meta_client::meta_core::ids::VolumeId(1),
        caller: Caller::root(),
        body: large_question(listed),
    };
    for id in 2..400 {
        let body = Some(Ask::Query(v1::Query::from(&query)));
        out.send(v1::ClientFrame { id, body }).await?;
    }
    let mut client = v1::meta_client::MetaClient::new(channel.clone());
    let stream = client.connect(ReceiverStream::new(frames)).await?;
    Ok(Deaf {
        _channel: channel,
        _out: out,
        _answers: stream.into_inner(),
    })
}

async fn clients_that_never_read(scene: &mut Scene) -> Result<()> {
    let (addr, listed) = (scene.addr()?, scene.listed);
    let before = scene.stuck().await?;
    let mut clients = Vec::new();
    for _client in 0..DEAF {
        clients.push(deaf(&addr, listed).await?);
    }
    wait::until(
        "clients that read nothing to be left",
        PATIENCE,
        async || {
            let left = scene.stuck().await? - before;
            Ok(if left == DEAF {
                Ok(())
            } else {
                Err(format!("{left} of {DEAF}"))
            })
        },
    )
    .await?;
    drop(clients);
    // The room that they had is there again.
    one_listing(scene).await
}

/// A thousand sessions, and ten requests of each at once.
async fn sessions_and_requests(scene: &mut Scene) -> Result<()> {
    let dir = make(&scene.root, Ino::ROOT, "crowd", NewNode::Directory).await?;
    let sessions = Arc::new(tokio::sync::Mutex::new(Vec::with_capacity(SESSIONS)));
    let per_session = REQUESTS / SESSIONS;
    each(SESSIONS, 64, |_| {
        let (url, sessions) = (scene.url.clone(), Arc::clone(&sessions));
        async move {
            let session = open(&url, u32::try_from(REQUESTS / SESSIONS)?).await?;
            sessions.lock().await.push(session);
            Ok(())
        }
    })
    .await?;
    let sessions = std::mem::take(&mut *sessions.lock().await);
    let asked = sessions.clone();
    each(REQUESTS, REQUESTS, move |number| {
        let session = asked[number / per_session].clone();
        async move {
            make(&session, dir, &format!("r{number}"), NewNode::Regular).await?;
            Ok(())
        }
    })
    .await?;
    each(SESSIONS, 64, move |number| {
        let session = sessions[number].clone();
        async move {
            session.close().await;
            Ok(())
        }
    })
    .await
}

/// The largest values, on behalf of callers with the most groups, all at once.
async fn large_commands(scene: &mut Scene) -> Result<()> {
    let session = open(&scene.url, 512).await?;
    let file = make(&session, Ino::ROOT, "large", NewNode::Regular).await?;
    let caller = Caller {
        uid: 0,
        gid: 0,
        groups: (1_000_000..1_065_000).collect(),
    };
    let setting = session.clone();
    each(1_000, 512, move |number| {
        let (session, caller) = (setting.clone(), caller.clone());
        async move {
            let set = Operation::SetXattr {
                ino: file,
                name: format!("user.{}", number % 16).into_bytes(),
                value: vec![7; 60_000],
                mode: XattrMode::Set,
            };
            match session.execute(caller, set).await {
                Ok(_) => Ok(()),
                // A file has room for so many bytes of attributes.
                Err(ClientError::Refused(Refusal::NoSpace)) => Ok(()),
                Err(other) => Err(other.into()),
            }
        }
    })
    .await?;
    session.close().await;
    Ok(())
}

/// Both ends of ten thousand connections are here.
fn many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|max| max > 12_000);
    ensure!(enough, "at most {:?} files may be open here", limit.maximum);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_served_and_memory_is_bounded_under_every_kind_of_load() {
    let _turn = alone().expect("the turn");
    many_files().expect("files");
    let mut scene = Scene::begin().await.expect("a node");
    let nothing = scene.under("nothing else", one_listing);
    nothing.await.expect("served");
    let idle = scene.under("10,000 connections that say nothing", idle_connections);
    idle.await.expect("served");
    let deaf = scene.under("clients that never read", clients_that_never_read);
    deaf.await.expect("served");
    let crowd = scene.under("1,000 sessions, 10,000 requests", sessions_and_requests);
    crowd.await.expect("served");
    let large = scene.under("the largest commands", large_commands);
    large.await.expect("served");
    scene.root.close().await;
}
