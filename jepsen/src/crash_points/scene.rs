//! A cluster under writers, one node of which is to end at a place.

use super::{PATIENCE, VOLUME, all_is_there, ended_at};
use crate::cluster::{Cluster, ClusterOptions};
use crate::wait;
use crate::writer::{Checked, Crew, make};
use anyhow::{Context, Result, anyhow};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Append, AppendSlice, NewNode, Operation, SetAttr};
use meta_client::meta_core::failpoint::Point;
use meta_client::meta_core::ids::{Ino, SliceId};
use meta_client::meta_core::outcome::Success;
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Log entries between snapshots, and behind the last one.
const SNAPSHOT_ENTRIES: u64 = 200;
const KEEP_ENTRIES: u64 = 50;

/// The cluster and its writers.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) crew: Crew,
    hand: MetaSession,
    files: u64,
    rng: StdRng,
}

impl Scene {
    pub(super) async fn begin(name: &str, nodes: u64, seed: u64) -> Result<Self> {
        let options = ClusterOptions {
            snapshot_entries: Some(SNAPSHOT_ENTRIES),
            keep_entries: Some(KEEP_ENTRIES),
            session_ttl_ms: Some(2_000),
            changelog_retain_bytes: Some(1 << 20),
            // Small, so that files are begun, made and written over again and again.
            log_file_bytes: Some(64 << 10),
            ..ClusterOptions::new(name, nodes)
        };
        let cluster = Cluster::start(options).await?;
        cluster.format_without_trash(VOLUME).await?;
        let url = cluster.url(VOLUME);
        let crew = Crew::begin(&url, 2, 4, seed).await?;
        crew.progress(SNAPSHOT_ENTRIES, PATIENCE).await?;
        let hand = open(&url).await?;
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self {
            cluster,
            crew,
            hand,
            files: 0,
            rng,
        })
    }

    /// A passage up to the `below`-th, so that runs differ in when they end.
    pub(super) fn some(&mut self, below: u64) -> u64 {
        self.rng.random_range(1..=below)
    }

    /// A node that leads, or does not.
    pub(super) async fn one(&self, leads: bool) -> Result<u64> {
        let leader = self.cluster.leader(PATIENCE).await?;
        let mut ids = self.cluster.ids().into_iter();
        ids.find(|id| (*id == leader) == leads)
            .context("a cluster of three")
    }

    /// Starts a node anew so that it ends at `point`.
    pub(super) fn arm(&mut self, id: u64, point: Point, count: u64) -> Result<()> {
        let node = self.cluster.node(id)?;
        if node.running()? {
            node.kill()?;
        }
        node.start_failing(point, count)
    }

    /// Makes a node lead, unless it has ended.
    pub(super) async fn make_lead(&mut self, id: u64) -> Result<()> {
        self.cluster.make_lead(id, PATIENCE).await
    }

    /// Keeps a node away until the others have nothing left in their logs that it lacks.
    pub(super) async fn leave_behind(&mut self, id: u64) -> Result<()> {
        let node = self.cluster.node(id)?;
        if node.running()? {
            node.kill()?;
        }
        let leader = self.cluster.leader(PATIENCE).await?;
        self.purged(leader).await
    }

    /// Waits until a node has purged all that is in its log when this is called, or has ended.
    pub(super) async fn purged(&mut self, id: u64) -> Result<()> {
        self.cluster.purged(id, PATIENCE).await
    }

    /// Waits until a node has ended at `point`, lets the others go on, and starts it as it should be.
    pub(super) async fn survive(&mut self, id: u64, point: Point) -> Result<()> {
        let at = point.name();
        ended_at(self.cluster.node(id)?, point).await?;
        let on = self.crew.progress(10, PATIENCE).await;
        on.with_context(|| format!("{at}: two of three go on"))?;
        self.cluster.start_all()?;
        let ready = self.cluster.wait_ready(PATIENCE).await;
        ready.with_context(|| format!("{at}: the node comes back"))?;
        let on = self.crew.progress(20, PATIENCE).await;
        on.with_context(|| format!("{at}: all go on"))
    }

    /// Makes a file, gives it a slice and cuts that off.
    pub(super) async fn cut_a_file(&mut self) -> Result<()> {
        self.files += 1;
        let name = format!("cut{}", self.files);
        let ino = make(&self.hand, Ino::ROOT, &name, NewNode::Regular)
            .await?
            .ino;
        let granted = self.tell(Operation::GrantSlices { count: 1 }).await?;
        let Success::Granted { first, .. } = granted else {
            return Err(anyhow!("a grant was answered with {granted:?}"));
        };
        let slices = vec![AppendSlice {
            id: SliceId(first.0),
            len: 100_000,
            frame_crcs: vec![0; 2],
        }];
        self.tell(Operation::Append(Append { ino, slices })).await?;
        let cut = SetAttr {
            ino,
            length: Some(0),
            ..SetAttr::default()
        };
        self.tell(Operation::SetAttr(cut)).await.map(drop)
    }

    async fn tell(&self, operation: Operation) -> Result<Success> {
        let told = self.hand.execute(Caller::root(), operation).await;
        told.context("the cluster goes on")
    }

    /// Opens a session and forgets it, as a client does that loses its power.
    pub(super) async fn abandon_a_session(&self) -> Result<()> {
        let url = self.cluster.url(VOLUME);
        let opened = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new()?;
            // What keeps the session alive ends with the runtime.
            runtime.block_on(async { open(&url).await.map(std::mem::forget) })
        });
        wait::until("a session to be opened", PATIENCE, async || {
            Ok(opened.is_finished().then_some(()).ok_or_else(String::new))
        })
        .await?;
        opened.join().map_err(|_| anyhow!("a client panicked"))?
    }

    /// Ends the writers and checks everything.
    pub(super) async fn end(mut self) -> Result<Checked> {
        self.hand.close().await;
        let written = self.crew.stop(PATIENCE).await?;
        all_is_there(&mut self.cluster, &written).await
    }
}

async fn open(url: &str) -> Result<MetaSession> {
    let url: MetaUrl = url.parse().context("a META-URL of our own")?;
    let opened = MetaSession::open(&url, SessionOptions::default()).await;
    opened.context("cannot open a session")
}
