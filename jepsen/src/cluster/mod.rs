//! A cluster of real nodes, on loopback or each in a network of its own.

mod agreement;
mod disk;
mod links;
mod node;
mod options;
mod panics;
mod proxied;
mod routed;
mod steer;

pub use crate::binaries::Build;
pub use agreement::{Agreement, VolumeAgreement, agree};
pub use disk::DiskControl;
pub use links::{Links, Loss, Pace, Way};
pub use node::Node;
pub use options::ClusterOptions;

use crate::binaries::binary;
use crate::loop_image::{Kind, LoopImage};
use crate::network::{self, Hub, Space, Subnet};
use crate::scratch::Scratch;
use crate::wait;
use anyhow::{Context, Result, ensure};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::CreateVolume;
use meta_client::meta_core::ids;
use meta_client::meta_core::limits::LEVEL_MAX;
use meta_client::meta_core::outcome::Refusal;
use meta_client::{ClientError, Failure, node_status};
use options::{Seat, node_toml};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How long one question to a node may take.
const ASK: Duration = Duration::from_secs(2);
/// Bytes of a volume's blocks, as `curlew format` has them when nothing else is said.
const BLOCK_BYTES: u32 = 4 << 20;

/// Nodes, their configuration, data and logs. Dropping it ends all processes.
#[derive(Debug)]
pub struct Cluster {
    // Before the directory, so that the processes end before their files go.
    nodes: Vec<Node>,
    /// The file systems that nodes have their data on, if they have their own.
    images: BTreeMap<u64, LoopImage>,
    options: ClusterOptions,
    /// The nodes' addresses, if they have networks of their own.
    subnet: Option<Subnet>,
    /// Between the nodes, if they can be parted.
    links: Option<Links>,
    scratch: Scratch,
}

impl Cluster {
    /// Starts the nodes, initialises the cluster, and waits until all of them are ready.
    ///
    /// # Errors
    /// When anything of that fails; log tails are in the error.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        let mut cluster = Self::prepare(options)?;
        cluster.start_all()?;
        cluster.initialise(Duration::from_secs(20)).await?;
        cluster.wait_ready(Duration::from_secs(20)).await?;
        cluster.link().await?;
        Ok(cluster)
    }

    /// Puts links between the nodes: in networks of their own they have them, on loopback these are
    /// proxies. The members know each other by their own addresses, and reach each other by those of
    /// the proxies, which are in their configuration alone.
    async fn link(&mut self) -> Result<()> {
        if self.subnet.is_some() {
            self.links = Some(Links::routed(&self.nodes)?);
            return Ok(());
        }
        if !self.options.partitions {
            return Ok(());
        }
        self.links = Some(Links::proxied(&self.nodes).await?);
        self.write_configs()?;
        for node in &mut self.nodes {
            node.kill()?;
            node.start()?;
        }
        self.wait_ready(Duration::from_secs(20)).await
    }

    /// The links between the nodes.
    ///
    /// # Errors
    /// When the cluster was started without them.
    pub fn links(&self) -> Result<&Links> {
        self.links.as_ref().context("the nodes cannot be parted")
    }

    /// Writes the configuration and starts nothing.
    ///
    /// # Errors
    /// When files cannot be written or no port is free.
    pub fn prepare(options: ClusterOptions) -> Result<Self> {
        let scratch = Scratch::new(&options.name)?;
        let mut images = BTreeMap::new();
        if options.images {
            for id in 1..=options.nodes {
                let kind = if id == 2 { Kind::Xfs } else { Kind::Ext4 };
                let point = scratch.path().join(format!("node{id}"));
                images.insert(id, LoopImage::new(kind, scratch.path(), &point)?);
            }
        }
        let subnet = options.hub.as_ref().map(|hub| hub.subnet()).transpose()?;
        let seat = |id| Seat::new(id, scratch.path(), &options, subnet.as_ref(), false);
        let seats = (1..=options.nodes).map(seat);
        let seats: Vec<Seat> = seats.collect::<Result<_>>()?;
        let nodes = seats.into_iter();
        let nodes = nodes
            .map(|seat| Node::new(seat, scratch.path(), options.build))
            .collect();
        let cluster = Self {
            nodes,
            images,
            options,
            subnet,
            links: None,
            scratch,
        };
        cluster.write_configs()?;
        Ok(cluster)
    }

    /// Changes settings. Nodes that run see them at their next start.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut ClusterOptions)) -> Result<()> {
        change(&mut self.options);
        self.write_configs()
    }

    fn write_configs(&self) -> Result<()> {
        let founders = self.nodes.iter().filter(|node| !node.seat.came_later);
        let founders: Vec<Seat> = founders.map(|node| node.seat.clone()).collect();
        for node in &self.nodes {
            let peers = if node.seat.came_later {
                std::slice::from_ref(&node.seat)
            } else {
                &founders[..]
            };
            let peers = peers.iter().map(|peer| {
                let links = self.links.as_ref();
                let linked = links.and_then(|links| links.addr(node.seat.id, peer.id));
                (peer.id, linked.unwrap_or_else(|| peer.addr.clone()))
            });
            let text = node_toml(&self.options, &node.seat, &peers.collect::<Vec<_>>());
            fs::write(&node.config, text)
                .with_context(|| format!("cannot write {}", node.config.display()))?;
        }
        Ok(())
    }

    /// Starts a node that belongs to no cluster yet, and gives its id.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn newcomer(&mut self) -> Result<u64> {
        let id = self.ids().into_iter().max().unwrap_or(0) + 1;
        let dir = self.scratch.path();
        let seat = Seat::new(id, dir, &self.options, self.subnet.as_ref(), true)?;
        self.nodes.push(Node::new(seat, dir, self.options.build));
        self.write_configs()?;
        self.node(id)?.start()?;
        Ok(id)
    }

    /// Ends a node that is no member any more, if it runs, and forgets it.
    ///
    /// # Errors
    /// When there is none, or it cannot be ended.
    pub fn forget(&mut self, id: u64) -> Result<()> {
        let node = self.node(id)?;
        if node.running()? {
            node.kill()?;
        }
        self.nodes.retain(|node| node.id() != id);
        Ok(())
    }

    /// Runs `curlew-meta` with these arguments and the addresses of nodes after `--cluster`, and
    /// gives what it said.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub fn administer(&mut self, command: &str, id: u64) -> Result<String> {
        let config = self.node(id)?.config().to_owned();
        let mut meta = Command::new(binary("curlew-meta")?);
        meta.arg(command);
        if command == "leave" {
            meta.arg("--id").arg(id.to_string());
        } else {
            meta.arg("--config").arg(config);
        }
        let others = self.nodes.iter().filter(|node| node.id() != id);
        let others: Vec<&str> = others.map(Node::addr).collect();
        meta.arg("--cluster").arg(others.join(","));
        said(&mut meta)
    }

    /// Runs `curlew-meta recover` for a node that does not run.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub fn recover(&mut self, id: u64, arguments: &[&str]) -> Result<String> {
        let mut meta = Command::new(binary("curlew-meta")?);
        meta.arg("recover").arg("--config");
        said(meta.arg(self.node(id)?.config()).args(arguments))
    }

    /// Starts every node that does not run.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if !node.running()? {
                node.start()?;
            }
        }
        Ok(())
    }

    /// Gives the cluster its identity, as soon as the nodes answer.
    ///
    /// # Errors
    /// When that does not succeed within `within`.
    pub async fn initialise(&mut self, within: Duration) -> Result<()> {
        let addr = self.node(1)?.addr().to_owned();
        let done = wait::until("the cluster to be initialised", within, async || {
            for node in &mut self.nodes {
                node.must_run()?;
            }
            Ok(meta_client::init(&addr, Duration::from_secs(5))
                .await
                .map_err(|e| e.to_string()))
        });
        let done = done.await;
        done.map(drop).with_context(|| self.log_tails(15))
    }

    /// Waits until every running node says that it is ready: it has joined and applied what was
    /// committed when it started.
    ///
    /// # Errors
    /// When that takes longer than `within`, or a node ended.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let ready = wait::until("every node to be ready", within, async || {
            for node in &mut self.nodes {
                node.must_run()?;
                if let Err(why) = crate::http::ready(node.metrics_addr(), ASK).await {
                    return Ok(Err(format!("node {}: {why}", node.id())));
                }
            }
            Ok(Ok(()))
        })
        .await;
        ready.with_context(|| self.log_tails(15))
    }

    /// The node that leads, as it says itself with the highest term.
    ///
    /// # Errors
    /// When there is none within `within`.
    pub async fn leader(&self, within: Duration) -> Result<u64> {
        let addrs = self.addrs();
        wait::until("a leader", within, async || Ok(leader_among(&addrs).await))
            .await
            .with_context(|| self.log_tails(15))
    }

    /// Waits until all nodes have applied the same and have the same digests.
    ///
    /// # Errors
    /// When they do not within `within`; says who differs, with log tails.
    pub async fn digests_equal(&self, within: Duration) -> Result<Agreement> {
        agree(&self.addrs(), within)
            .await
            .with_context(|| self.log_tails(15))
    }

    /// Addresses of all nodes.
    pub fn addrs(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.addr().to_owned())
            .collect()
    }

    /// The META-URL of a volume here.
    pub fn url(&self, volume: &str) -> String {
        format!("curlew://{}/{volume}", self.addrs().join(","))
    }

    /// From the networks of these nodes, no address of `other`'s nodes can be reached. On loopback, which
    /// all share, nothing changes.
    ///
    /// # Errors
    /// When a network does not take it.
    pub fn bar(&self, other: &Self) -> Result<()> {
        let spaces = |cluster: &Self| -> Vec<Arc<Space>> {
            let seats = cluster.nodes.iter().map(|node| node.seat.space.clone());
            seats.flatten().collect()
        };
        let addrs: Vec<Ipv4Addr> = spaces(other).iter().map(|space| space.addr()).collect();
        for space in spaces(self) {
            let addrs = addrs.clone();
            space.within(move || network::bar(&addrs))??;
        }
        Ok(())
    }

    /// Where nodes reach what listens in the harness.
    pub fn harness_ip(&self) -> Ipv4Addr {
        match self.subnet {
            Some(_) => Hub::ADDR,
            None => Ipv4Addr::LOCALHOST,
        }
    }

    /// The ids of all nodes.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(Node::id).collect()
    }

    /// A node by its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&mut self, id: u64) -> Result<&mut Node> {
        let found = self.nodes.iter_mut().find(|node| node.id() == id);
        found.with_context(|| format!("no node {id} in this cluster"))
    }

    /// The file system that a node has its data on.
    ///
    /// # Errors
    /// When it has none of its own.
    pub fn image(&mut self, id: u64) -> Result<&mut LoopImage> {
        let image = self.images.get_mut(&id);
        image.with_context(|| format!("node {id} has no file system of its own"))
    }

    /// Lets a node that is no member any more, and has lost its data, be one that comes anew.
    ///
    /// # Errors
    /// When there is none, or the files cannot be written.
    pub fn comes_anew(&mut self, id: u64) -> Result<()> {
        self.node(id)?.seat.came_later = true;
        self.write_configs()
    }

    /// Processor time that all nodes' present processes have used so far.
    ///
    /// # Errors
    /// When one does not run.
    pub fn cpu_seconds(&mut self) -> Result<f64> {
        self.nodes.iter_mut().map(Node::cpu_seconds).sum()
    }

    /// The directory of this run.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Where blocks go.
    pub fn objects(&self) -> PathBuf {
        self.dir().join("objects")
    }

    /// Stops all nodes and checks what each has on its disk: every row, every record, the rules
    /// between them. Gives what the check said of each.
    ///
    /// # Errors
    /// When a node does not stop cleanly, or its data is not in order.
    pub async fn check_stores(&mut self, within: Duration) -> Result<Vec<String>> {
        for id in self.ids() {
            let status = self.node(id)?.stop(within).await?;
            ensure!(status.success(), "node {id} ended with {status}");
        }
        let mut said = Vec::new();
        for id in self.ids() {
            let checked = self.node(id)?.check();
            said.push(checked.with_context(|| format!("node {id}"))?);
        }
        Ok(said)
    }

    /// Leaves data and logs behind.
    pub fn keep(&mut self) {
        self.scratch.keep();
    }

    /// Makes a volume whose blocks go to [`Self::objects`].
    ///
    /// # Errors
    /// When the cluster does not.
    pub async fn format(&self, volume: &str) -> Result<()> {
        let root = self.objects();
        let uuid = ids::Uuid(uuid::Uuid::new_v4().into_bytes());
        // Mounts look for the volume's own directory.
        fs::create_dir_all(root.join(uuid.to_string()))
            .context("cannot make the object directory")?;
        let storage = serde_json::json!({ "kind": "file", "root": root });
        let addrs = self.addrs();
        let client = meta_client::Cluster::connect(&addrs, Duration::from_secs(20));
        let client = client.await.with_context(|| self.log_tails(15))?;
        let create = CreateVolume {
            name: volume.to_owned(),
            uuid,
            block_bytes: BLOCK_BYTES,
            storage: storage.to_string().into_bytes(),
        };
        client
            .create_volume(create)
            .await
            .context("cannot make the volume")?;
        Ok(())
    }

    /// [`Self::format`], and what is removed is deleted at once.
    ///
    /// # Errors
    /// When the cluster does not.
    pub async fn format_without_trash(&self, volume: &str) -> Result<()> {
        self.format(volume).await?;
        // At a lower level there is none.
        if self.options.raise_levels {
            self.set_trash(volume, 0).await?;
        }
        Ok(())
    }

    /// Waits until a volume is of the newest level.
    ///
    /// # Errors
    /// When it is not within `within`.
    pub async fn raised(&self, volume: &str, within: Duration) -> Result<()> {
        let client = meta_client::Cluster::connect(&self.addrs(), within).await?;
        wait::until("the volume's level to be raised", within, async || {
            let level = client.find_volume(volume).await?.level;
            let is_raised = (level == LEVEL_MAX).then_some(());
            Ok(is_raised.ok_or_else(|| format!("it is {level}")))
        })
        .await
    }

    /// Says how long a volume keeps what is removed, in seconds.
    ///
    /// # Errors
    /// When the cluster does not, or the volume does not come to a level that has a trash.
    pub async fn set_trash(&self, volume: &str, seconds: u64) -> Result<()> {
        let client = meta_client::Cluster::connect(&self.addrs(), Duration::from_secs(20)).await?;
        let id = client.find_volume(volume).await?.id;
        // A leader lets the command in once it has heard that every node reads it, and raises the level then.
        wait::until(
            "the volume to have a trash",
            Duration::from_secs(20),
            async || match client.set_trash(id, Caller::root(), seconds).await {
                Err(ClientError::Failed(Failure::BadRequest(why))) => Ok(Err(why)),
                Err(ClientError::Refused(Refusal::NotSupported)) => Ok(Err("at its level".into())),
                ended => Ok(Ok(ended?)),
            },
        )
        .await
    }

    /// The last lines of every node's log.
    pub fn log_tails(&self, lines: usize) -> String {
        self.nodes.iter().map(|node| node.log_tail(lines)).collect()
    }
}

/// Runs a command to its end and gives all that it said.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run curlew-meta")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}{errors}");
    Ok(text)
}

/// The leader as the nodes at `addrs` see it: one of them must say that it leads.
pub async fn leader_among(addrs: &[String]) -> Result<u64, String> {
    let mut best: Option<(u64, u64)> = None;
    let mut seen = String::new();
    let asked = addrs.iter().map(|addr| {
        let addr = addr.clone();
        tokio::spawn(async move { node_status(&addr, ASK).await })
    });
    for answer in asked.collect::<Vec<_>>() {
        match answer.await {
            Ok(Ok(status)) if status.state == "leader" => {
                best = best.max(Some((status.term, status.node_id)));
            }
            Ok(Ok(status)) => seen += &format!("{}: {}; ", status.node_id, status.state),
            Ok(Err(error)) => seen += &format!("{error}; "),
            Err(error) => seen += &format!("{error}; "),
        }
    }
    best.map(|(_, id)| id)
        .ok_or_else(|| format!("no node says that it leads ({seen})"))
}
