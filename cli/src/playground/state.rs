//! `playground.json`: what scripts read about a running playground. Its shape is a promise.

use super::layout::Layout;
use crate::atomic_file;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) origin: Side,
    /// Null if the playground has no mirror.
    pub(super) mirror: Option<Side>,
    pub(super) object_store: String,
}

/// A cluster and its mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Side {
    pub(super) meta_url: String,
    pub(super) mount: String,
    pub(super) mount_pid: u32,
    pub(super) nodes: Vec<NodeState>,
}

/// A metadata node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeState {
    pub(super) id: u64,
    pub(super) pid: u32,
    pub(super) addr: String,
    pub(super) metrics: String,
}

impl State {
    pub(super) fn load(layout: &Layout) -> Result<Option<Self>> {
        atomic_file::read_json(&layout.state_file())
    }

    /// Replaces the file whole.
    pub(super) fn store(&self, layout: &Layout) -> Result<()> {
        atomic_file::write_json(&layout.state_file(), self)
    }

    /// Puts a node's new process in the place of its old one.
    pub(super) fn set_node_pid(&mut self, id: u64, pid: u32) -> Result<()> {
        let sides = std::iter::once(&mut self.origin).chain(&mut self.mirror);
        let mut nodes = sides.flat_map(|side| &mut side.nodes);
        let node = nodes.find(|node| node.id == id);
        node.with_context(|| format!("playground.json has no node {id}"))?
            .pid = pid;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let node = |id: u64| NodeState {
            id,
            pid: 100 + u32::try_from(id).expect("small"),
            addr: format!("127.0.0.1:710{id}"),
            metrics: format!("127.0.0.1:720{id}"),
        };
        State {
            origin: Side {
                meta_url: "curlew://127.0.0.1:7101,127.0.0.1:7102/playground".into(),
                mount: "/p/origin".into(),
                mount_pid: 99,
                nodes: vec![node(1), node(2)],
            },
            mirror: None,
            object_store: "/p/objects".into(),
        }
    }

    #[test]
    fn the_shape_of_playground_json_is_frozen() {
        let text = serde_json::to_string(&state()).expect("JSON");
        assert_eq!(
            text,
            "{\"origin\":{\"meta_url\":\"curlew://127.0.0.1:7101,127.0.0.1:7102/playground\",\
             \"mount\":\"/p/origin\",\"mount_pid\":99,\"nodes\":[\
             {\"id\":1,\"pid\":101,\"addr\":\"127.0.0.1:7101\",\"metrics\":\"127.0.0.1:7201\"},\
             {\"id\":2,\"pid\":102,\"addr\":\"127.0.0.1:7102\",\"metrics\":\"127.0.0.1:7202\"}]},\
             \"mirror\":null,\"object_store\":\"/p/objects\"}"
        );
    }

    #[test]
    fn playground_json_survives_being_stored_and_one_pid_can_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        assert_eq!(State::load(&layout).expect("readable"), None);
        let mut state = state();
        state.store(&layout).expect("stored");
        assert_eq!(State::load(&layout).expect("readable"), Some(state.clone()));
        state.set_node_pid(2, 555).expect("node 2");
        state.store(&layout).expect("stored");
        let read = State::load(&layout).expect("readable").expect("there");
        assert_eq!(read.origin.nodes[1].pid, 555);
        assert_eq!(read.origin.nodes[0].pid, 101);
        assert!(state.set_node_pid(9, 1).is_err());
    }
}
