//! Starting a playground: nodes, cluster, volume, mount, `playground.json`.

use super::layout::{Layout, MountLayout};
use super::lock::Lock;
use super::node::{self, Node};
use super::plan::{NodePlan, Plan, VOLUME, Wish};
use super::state::{NodeState, Side, State};
use super::{record, stop};
use crate::detach::Detached;
use crate::format::{self, NewVolume};
use crate::mirror::Added;
use crate::mount::{MountArgs, start_detached};
use crate::mount_table;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use meta_client::{Cluster, MetaUrl};
use std::path::Path;
use std::time::Duration;

/// How long the nodes may take to answer, and again to agree on a leader.
const NODES_LIMIT: Duration = Duration::from_secs(15);
/// What the mirror is called.
const MIRROR: &str = "mirror";
/// How long the mirror may take until it follows.
const MIRROR_LIMIT: Duration = Duration::from_secs(60);
/// How long the cluster may take to answer a request.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);

/// A playground that this command started.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) state: State,
    pub(super) nodes: Vec<Node>,
    /// Without those that have been seen to end.
    pub(super) mounts: Vec<Detached>,
}

/// Starts everything; what was started is ended again if a later step fails.
pub(super) async fn start(layout: &Layout, wish: Wish, progress: &Progress) -> Result<Running> {
    let program = node::program()?;
    let _lock = Lock::take(layout).await?;
    refuse_if_running(layout)?;
    let plan = Plan::prepare(layout, wish)?;
    match start_parts(layout, &plan, &program, progress).await {
        Ok(running) => Ok(running),
        Err(error) => {
            progress.note("the start failed: ending what was started");
            if let Err(left) = stop::end_all(layout, progress).await {
                progress.note(&format!("this is left running: {left:#}"));
            }
            Err(error)
        }
    }
}

async fn start_parts(
    layout: &Layout,
    plan: &Plan,
    program: &Path,
    progress: &Progress,
) -> Result<Running> {
    let count = plan.all_nodes().count();
    progress.step(&format!("starting {count} metadata node(s)"));
    let start = |nodes: &[NodePlan]| -> Result<Vec<Node>> {
        let nodes = nodes.iter();
        nodes
            .map(|node| Node::start(program, layout, plan, node.id))
            .collect()
    };
    let mut nodes = start(&plan.nodes)?;
    let mut mirror_nodes = start(&plan.mirror_nodes)?;
    make_cluster(layout, program, &mut nodes).await?;
    progress.step("looking for the volume");
    let url = parse(&plan.meta_url())?;
    ensure_volume(layout, &url, progress).await?;
    let [at_origin, at_mirror] = layout.mounts();
    progress.step(&format!("mounting {}", at_origin.point.display()));
    let mut mounts = vec![
        start_mount(
            &at_origin,
            MountArgs::of(url.clone(), at_origin.point.clone()),
        )
        .await?,
    ];
    let mut state = State {
        origin: Side {
            meta_url: plan.meta_url(),
            mount: path_text(&at_origin.point)?,
            mount_pid: pid_of(&mounts),
            nodes: nodes.iter().map(node_state).collect(),
        },
        mirror: None,
        object_store: path_text(&layout.object_store())?,
    };
    if let Some(mirror_url) = plan.mirror_url() {
        make_cluster(layout, program, &mut mirror_nodes).await?;
        let mirror = parse(&mirror_url)?;
        let added = crate::mirror::add(&url, &mirror, MIRROR, MIRROR_LIMIT, progress).await?;
        if let Added::Stopped(why) = added {
            // What the origin holds is not out of reach for that.
            progress.note(&format!(
                "curlew: the mirror has {why}; its mount reads from the origin"
            ));
        }
        progress.step(&format!("mounting {}", at_mirror.point.display()));
        let args = MountArgs::of(url, at_mirror.point.clone()).with_mirror(mirror);
        mounts.push(start_mount(&at_mirror, args).await?);
        state.mirror = Some(Side {
            meta_url: mirror_url,
            mount: path_text(&at_mirror.point)?,
            mount_pid: pid_of(&mounts),
            nodes: mirror_nodes.iter().map(node_state).collect(),
        });
    }
    nodes.extend(mirror_nodes);
    state.store(layout)?;
    Ok(Running {
        state,
        nodes,
        mounts,
    })
}

fn parse(url: &str) -> Result<MetaUrl> {
    url.parse().context("the playground's own URL")
}

/// The process of the newest mount.
fn pid_of(mounts: &[Detached]) -> u32 {
    mounts.last().map_or(0, Detached::pid)
}

/// A playground that is there already is never touched by a start.
fn refuse_if_running(layout: &Layout) -> Result<()> {
    let dir = layout.dir().display();
    let again = format!("`curlew playground --dir {dir} --stop` ends it");
    let mut left = Vec::new();
    for mount in layout.mounts() {
        if let Some(process) = record::alive(&mount.record)? {
            let point = mount.point.display();
            left.push(format!("its mount {point} (process {})", process.pid()));
        }
    }
    for node in Plan::load(layout)?.iter().flat_map(Plan::all_nodes) {
        if let Some(process) = record::alive(&layout.node(node.id).record())? {
            left.push(format!("node {} (process {})", node.id, process.pid()));
        }
    }
    if !left.is_empty() {
        bail!(
            "a playground is running in {dir}: {}; {again}",
            left.join(", ")
        );
    }
    for mount in layout.mounts() {
        let point = mount.point.display();
        match mount_table::at(&mount.point)? {
            // Its process is gone: the kernel keeps the name until somebody unmounts.
            Some(entry) if entry.is_curlew() => bail!("a dead mount is left at {point}; {again}"),
            Some(_other) => bail!("{point} is in use by another file system; unmount that first"),
            None => {}
        }
    }
    Ok(())
}

/// Waits for the nodes, initialises the cluster at the first start, waits for a leader.
async fn make_cluster(layout: &Layout, program: &Path, nodes: &mut [Node]) -> Result<()> {
    let mut is_initialised = false;
    for node in &mut *nodes {
        let status = node.wait(NODES_LIMIT, "answered", |_any| true).await?;
        is_initialised |= status.initialised;
    }
    if !is_initialised {
        let first = nodes.first().context("a playground has a node")?;
        node::init(program, layout, first.plan.id).await?;
    }
    for node in nodes {
        node.wait(NODES_LIMIT, "joined its cluster", node::is_healthy)
            .await?;
    }
    Ok(())
}

async fn ensure_volume(layout: &Layout, url: &MetaUrl, progress: &Progress) -> Result<()> {
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT)
        .await
        .context("the metadata nodes are up but do not take requests")?;
    if format::find(&cluster, VOLUME).await?.is_none() {
        progress.step("formatting the volume");
        let volume = NewVolume::in_directory(VOLUME, &layout.object_store(), None)?;
        format::create(&cluster, &volume).await?;
    }
    Ok(())
}

async fn start_mount(mount: &MountLayout, args: MountArgs) -> Result<Detached> {
    let point = &mount.point;
    std::fs::create_dir_all(point)
        .with_context(|| format!("cannot make the mount point {}", point.display()))?;
    let mut listed = std::fs::read_dir(point)
        .with_context(|| format!("cannot look into {}", point.display()))?;
    if listed.next().is_some() {
        bail!(
            "{} is not empty: the mount would hide its files; move them",
            point.display()
        );
    }
    start_detached(&args, &mount.log, Some(mount.record.clone())).await
}

fn node_state(node: &Node) -> NodeState {
    NodeState {
        id: node.plan.id,
        pid: node.process.pid(),
        addr: node.plan.addr(),
        metrics: node.plan.metrics(),
    }
}

fn path_text(path: &Path) -> Result<String> {
    path.to_str()
        .map(ToOwned::to_owned)
        .context("the playground's path is not UTF-8")
}
