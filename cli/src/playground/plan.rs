//! What is the same at each start of a playground: its nodes and, as far as they are still free,
//! their ports.

use super::layout::Layout;
use super::port::Ports;
use crate::atomic_file;
use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;

/// The version of the file.
const FORMAT: u32 = 1;
/// The volume's name.
pub(super) const VOLUME: &str = "playground";

/// A playground's plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    format: u32,
    /// Where it was made: the volume knows its object store by this path.
    dir: PathBuf,
    pub(super) nodes: Vec<NodePlan>,
    /// The nodes of the mirror, if there is one. Their ids go on from those of the origin, so that an
    /// id names one node of the playground.
    #[serde(default)]
    pub(super) mirror_nodes: Vec<NodePlan>,
    /// Whether leaders answer reads under a lease: as the last start said.
    #[serde(default)]
    pub(super) lease_reads: bool,
}

/// What the user asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Wish {
    pub(super) nodes: Option<u32>,
    pub(super) mirror: bool,
    pub(super) mirror_nodes: Option<u32>,
    pub(super) lease_reads: bool,
}

/// One metadata node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodePlan {
    pub(super) id: u64,
    pub(super) port: u16,
    pub(super) metrics_port: u16,
}

impl NodePlan {
    pub(super) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn metrics(&self) -> String {
        format!("127.0.0.1:{}", self.metrics_port)
    }
}

impl Plan {
    /// The plan of an earlier start, if there was one.
    pub(super) fn load(layout: &Layout) -> Result<Option<Self>> {
        let Some(plan) = atomic_file::read_json::<Self>(&layout.plan_file())? else {
            return Ok(None);
        };
        if plan.format != FORMAT {
            bail!(
                "{} has format {}, and this version knows {FORMAT}; use the version that made it",
                layout.plan_file().display(),
                plan.format
            );
        }
        if plan.dir != layout.dir() {
            bail!(
                "this playground was made in {} and does not work elsewhere; move it back, or \
                 start a new one in an empty directory",
                plan.dir.display()
            );
        }
        Ok(Some(plan))
    }

    /// The plan for a start now, stored.
    pub(super) fn prepare(layout: &Layout, wish: Wish) -> Result<Self> {
        let mut ports = Ports::default();
        let mut plan = match Self::load(layout)? {
            Some(plan) => plan.again(wish, &mut ports)?,
            None => Self::new(layout, wish.nodes.unwrap_or(1), &mut ports)?,
        };
        if wish.mirror && plan.mirror_nodes.is_empty() {
            let first = plan.nodes.iter().map(|node| node.id).max().unwrap_or(0) + 1;
            let count = u64::from(wish.mirror_nodes.unwrap_or(1));
            plan.mirror_nodes = new_nodes(first..first + count, &mut ports)?;
        }
        plan.lease_reads = wish.lease_reads;
        atomic_file::write_json(&layout.plan_file(), &plan)?;
        Ok(plan)
    }

    pub(super) fn node(&self, id: u64) -> Result<&NodePlan> {
        self.all_nodes().find(|node| node.id == id).ok_or_else(|| {
            let count = self.all_nodes().count();
            anyhow!("there is no node {id}: this playground has nodes 1 to {count}")
        })
    }

    /// The nodes of both sides.
    pub(super) fn all_nodes(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().chain(&self.mirror_nodes)
    }

    /// The nodes of the cluster that a node belongs to.
    pub(super) fn cluster_of(&self, id: u64) -> &[NodePlan] {
        if self.mirror_nodes.iter().any(|node| node.id == id) {
            &self.mirror_nodes
        } else {
            &self.nodes
        }
    }

    pub(super) fn meta_url(&self) -> String {
        url_of(&self.nodes)
    }

    /// Where the mirror is, if there is one.
    pub(super) fn mirror_url(&self) -> Option<String> {
        (!self.mirror_nodes.is_empty()).then(|| url_of(&self.mirror_nodes))
    }

    fn new(layout: &Layout, nodes: u32, ports: &mut Ports) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            dir: layout.dir().to_owned(),
            nodes: new_nodes(1..u64::from(nodes) + 1, ports)?,
            mirror_nodes: Vec::new(),
            lease_reads: false,
        })
    }

    fn again(mut self, wish: Wish, ports: &mut Ports) -> Result<Self> {
        let counted = [
            ("--nodes", wish.nodes, self.nodes.len()),
            ("--mirror-nodes", wish.mirror_nodes, self.mirror_nodes.len()),
        ];
        for (flag, asked, count) in counted {
            if count > 0 && asked.is_some_and(|asked| usize::try_from(asked) != Ok(count)) {
                bail!(
                    "this playground has {count} node(s) on that side; start it without {flag}, or \
                     start another one in an empty directory"
                );
            }
        }
        for node in self.nodes.iter_mut().chain(&mut self.mirror_nodes) {
            node.port = ports.keep(node.port)?;
            node.metrics_port = ports.keep(node.metrics_port)?;
        }
        Ok(self)
    }
}

fn url_of(nodes: &[NodePlan]) -> String {
    let addrs: Vec<String> = nodes.iter().map(NodePlan::addr).collect();
    format!("curlew://{}/{VOLUME}", addrs.join(","))
}

fn new_nodes(ids: Range<u64>, ports: &mut Ports) -> Result<Vec<NodePlan>> {
    ids.map(|id| {
        Ok(NodePlan {
            id,
            port: ports.free()?,
            metrics_port: ports.free()?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        std::fs::create_dir(layout.inside()).expect("a directory");
        (dir, layout)
    }

    fn nodes(count: u32) -> Wish {
        Wish {
            nodes: Some(count),
            ..Wish::default()
        }
    }

    #[test]
    fn a_mirror_is_added_once_and_stays() {
        let (_dir, layout) = layout();
        let plain = Plan::prepare(&layout, nodes(3)).expect("a plan");
        assert_eq!(plain.mirror_url(), None);
        let wish = Wish {
            mirror: true,
            mirror_nodes: Some(2),
            ..Wish::default()
        };
        let both = Plan::prepare(&layout, wish).expect("a plan");
        assert_eq!(both.nodes, plain.nodes);
        let ids: Vec<u64> = both.mirror_nodes.iter().map(|node| node.id).collect();
        assert_eq!(ids, [4, 5]);
        assert_eq!(both.cluster_of(5).len(), 2);
        assert_eq!(both.cluster_of(1).len(), 3);
        assert_eq!(
            Plan::prepare(&layout, Wish::default()).expect("a plan"),
            both
        );
        let other = Wish {
            mirror_nodes: Some(1),
            ..wish
        };
        Plan::prepare(&layout, other).expect_err("another number");
    }

    #[test]
    fn ports_stay_the_same_while_they_are_free() {
        let (_dir, layout) = layout();
        let first = Plan::prepare(&layout, nodes(3)).expect("a plan");
        assert_eq!(
            first.nodes.iter().map(|node| node.id).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(
            Plan::prepare(&layout, Wish::default()).expect("a plan"),
            first
        );
        assert_eq!(Plan::prepare(&layout, nodes(3)).expect("a plan"), first);

        let port = first.nodes[1].port;
        let _taken = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        let moved = Plan::prepare(&layout, Wish::default()).expect("a plan");
        assert_ne!(moved.nodes[1].port, port);
        assert_eq!(moved.nodes[0], first.nodes[0]);
        assert_eq!(moved.nodes[1].metrics_port, first.nodes[1].metrics_port);
        assert_eq!(Plan::load(&layout).expect("readable"), Some(moved));
    }

    #[test]
    fn another_number_of_nodes_is_refused() {
        let (_dir, layout) = layout();
        Plan::prepare(&layout, nodes(1)).expect("a plan");
        let error = Plan::prepare(&layout, nodes(3)).expect_err("one node");
        assert!(error.to_string().contains("has 1 node"), "{error}");
    }

    #[test]
    fn a_playground_that_was_moved_is_refused() {
        let (_dir, here) = layout();
        let (_other, there) = layout();
        Plan::prepare(&here, Wish::default()).expect("a plan");
        std::fs::copy(here.plan_file(), there.plan_file()).expect("copied");
        let error = Plan::prepare(&there, Wish::default()).expect_err("moved");
        assert!(error.to_string().contains("was made in"), "{error}");
    }
}
