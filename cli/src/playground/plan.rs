//! What is the same at each start of a playground: its nodes and, as far as they are still free,
//! their ports.

use super::layout::Layout;
use super::port::Ports;
use crate::atomic_file;
use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};
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

    /// The plan for a start now, stored. `nodes` is how many the user asked for.
    pub(super) fn prepare(layout: &Layout, nodes: Option<u32>) -> Result<Self> {
        let plan = match Self::load(layout)? {
            Some(plan) => plan.again(nodes)?,
            None => Self::new(layout, nodes.unwrap_or(1))?,
        };
        atomic_file::write_json(&layout.plan_file(), &plan)?;
        Ok(plan)
    }

    pub(super) fn node(&self, id: u64) -> Result<&NodePlan> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| {
            anyhow!(
                "there is no node {id}: this playground has nodes 1 to {}",
                self.nodes.len()
            )
        })
    }

    pub(super) fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(NodePlan::addr).collect()
    }

    pub(super) fn meta_url(&self) -> String {
        format!("curlew://{}/{VOLUME}", self.addrs().join(","))
    }

    fn new(layout: &Layout, nodes: u32) -> Result<Self> {
        let mut ports = Ports::default();
        let nodes = (1..=u64::from(nodes))
            .map(|id| {
                Ok(NodePlan {
                    id,
                    port: ports.free()?,
                    metrics_port: ports.free()?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            format: FORMAT,
            dir: layout.dir().to_owned(),
            nodes,
        })
    }

    fn again(mut self, nodes: Option<u32>) -> Result<Self> {
        let count = self.nodes.len();
        if nodes.is_some_and(|asked| usize::try_from(asked) != Ok(count)) {
            bail!(
                "this playground has {count} node(s); start it without --nodes, or start another \
                 one in an empty directory"
            );
        }
        let mut ports = Ports::default();
        for node in &mut self.nodes {
            node.port = ports.keep(node.port)?;
            node.metrics_port = ports.keep(node.metrics_port)?;
        }
        Ok(self)
    }
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

    #[test]
    fn ports_stay_the_same_while_they_are_free() {
        let (_dir, layout) = layout();
        let first = Plan::prepare(&layout, Some(3)).expect("a plan");
        assert_eq!(
            first.nodes.iter().map(|node| node.id).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(Plan::prepare(&layout, None).expect("a plan"), first);
        assert_eq!(Plan::prepare(&layout, Some(3)).expect("a plan"), first);

        let port = first.nodes[1].port;
        let _taken = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        let moved = Plan::prepare(&layout, None).expect("a plan");
        assert_ne!(moved.nodes[1].port, port);
        assert_eq!(moved.nodes[0], first.nodes[0]);
        assert_eq!(moved.nodes[1].metrics_port, first.nodes[1].metrics_port);
        assert_eq!(Plan::load(&layout).expect("readable"), Some(moved));
    }

    #[test]
    fn another_number_of_nodes_is_refused() {
        let (_dir, layout) = layout();
        Plan::prepare(&layout, Some(1)).expect("a plan");
        let error = Plan::prepare(&layout, Some(3)).expect_err("one node");
        assert!(error.to_string().contains("has 1 node"), "{error}");
    }

    #[test]
    fn a_playground_that_was_moved_is_refused() {
        let (_dir, here) = layout();
        let (_other, there) = layout();
        Plan::prepare(&here, None).expect("a plan");
        std::fs::copy(here.plan_file(), there.plan_file()).expect("copied");
        let error = Plan::prepare(&there, None).expect_err("moved");
        assert!(error.to_string().contains("was made in"), "{error}");
    }
}
