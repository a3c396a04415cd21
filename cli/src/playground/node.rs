//! One metadata node of a playground: its config file, its process, its health.

use super::layout::{Layout, NodeLayout};
use super::plan::{NodePlan, Plan};
use crate::atomic_file;
use crate::detach::{Detached, Job};
use crate::patience;
use anyhow::{Context, Result, anyhow, bail};
use meta_client::NodeStatus;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long one question to a node may take.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How long `curlew-meta init` may take.
const INIT_LIMIT: Duration = Duration::from_secs(15);
/// A playground leaves this much of a laptop's disk alone.
const RESERVE_BYTES: u64 = 256 << 20;

/// A node that was started by this command.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) plan: NodePlan,
    pub(super) process: Detached,
}

impl Node {
    /// Writes the node's config file and starts it.
    pub(super) fn start(program: &Path, layout: &Layout, plan: &Plan, id: u64) -> Result<Self> {
        let node = plan.node(id)?;
        let place = layout.node(id);
        std::fs::create_dir_all(place.data())
            .with_context(|| format!("cannot make the directory {}", place.data().display()))?;
        let text = config(plan, node, &place)?;
        atomic_file::write(&place.config(), text.as_bytes())?;
        let process = Detached::start(&Job {
            program: program.to_owned(),
            args: vec!["serve".into(), "--config".into(), place.config().into()],
            log: place.log(),
            record: Some(place.record()),
        })?;
        Ok(Self {
            plan: node.clone(),
            process,
        })
    }

    /// What the node says about itself, or why it says nothing; an error once it has ended.
    async fn ask(&mut self) -> Result<Result<NodeStatus, String>> {
        if let Some(words) = self.process.ended()? {
            bail!(
                "metadata node {} ended: {words}\nits log is {}",
                self.plan.id,
                self.process.log().display()
            );
        }
        let answer = meta_client::node_status(&self.plan.addr(), ASK_LIMIT).await;
        Ok(answer.map_err(|error| error.to_string()))
    }

    /// Waits until the node fulfils `wanted`.
    pub(super) async fn wait(
        &mut self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&NodeStatus) -> bool,
    ) -> Result<NodeStatus> {
        let mut last = String::from("it has not answered");
        let waited = patience::until_answered(limit, async || match self.ask().await {
            Err(ended) => Some(Err(ended)),
            Ok(Ok(status)) if wanted(&status) => Some(Ok(status)),
            Ok(Ok(status)) => {
                last = format!("its state is {}", status.state);
                None
            }
            Ok(Err(silence)) => {
                last = silence;
                None
            }
        });
        let waited = waited.await;
        waited.unwrap_or_else(|| {
            Err(anyhow!(
                "metadata node {} has not {what} within {} s: {last}; its log is {}",
                self.plan.id,
                limit.as_secs(),
                self.process.log().display()
            ))
        })
    }
}

/// Whether a node takes part in a cluster that has a leader.
pub(super) fn is_healthy(status: &NodeStatus) -> bool {
    status.initialised
        && status.leader_id.is_some()
        && matches!(status.state.as_str(), "leader" | "follower")
}

/// Has the cluster of a node initialised. Safe to repeat.
pub(super) async fn init(program: &Path, layout: &Layout, id: u64) -> Result<()> {
    let mut command = Command::new(program);
    command
        .arg("init")
        .arg("--config")
        .arg(layout.node(id).config());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(INIT_LIMIT, command.output())
        .await
        .map_err(|_elapsed| {
            anyhow!(
                "`curlew-meta init` has not ended within {} s",
                INIT_LIMIT.as_secs()
            )
        })?;
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`curlew-meta init` ended with {}: {}",
            output.status,
            words.trim()
        );
    }
    Ok(())
}

/// `curlew-meta`: beside this program, else in PATH.
pub(super) fn program() -> Result<PathBuf> {
    const NAME: &str = "curlew-meta";
    let own = crate::detach::own_program()?;
    let beside = own.with_file_name(NAME);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(NAME));
    std::iter::once(beside)
        .chain(in_path)
        .find(|file| is_program(file))
        .ok_or_else(|| {
            anyhow!(
                "cannot find `{NAME}` beside {} or in PATH; build it with \
             `cargo build --release -p meta-server`",
                own.display()
            )
        })
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn config(plan: &Plan, node: &NodePlan, place: &NodeLayout) -> Result<String> {
    let data = place.data();
    let data = data
        .to_str()
        .context("the playground's path is not UTF-8")?;
    let mut text = format!(
        "# Written by `curlew playground` at each start: changes do not stay.\n\
         node_id = {}\n\
         listen = \"{}\"\n\
         metrics_listen = \"{}\"\n\
         data_dir = {}\n\
         reserve_bytes = {RESERVE_BYTES}\n",
        node.id,
        node.addr(),
        node.metrics(),
        toml_string(data)?,
    );
    for peer in plan.cluster_of(node.id) {
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "\n[[peers]]\nid = {}\naddr = \"{}\"\n",
            peer.id,
            peer.addr()
        );
    }
    if plan.lease_reads {
        text.push_str("\n[raft]\nlease_reads = true\n");
    }
    Ok(text)
}

/// JSON's escapes are a part of those of TOML's basic strings.
fn toml_string(text: &str) -> Result<String> {
    serde_json::to_string(text).context("the path does not fit a config file")
}

#[cfg(test)]
mod tests {
    use super::super::plan::Wish;
    use super::*;

    #[test]
    fn a_node_is_told_its_ports_and_all_its_peers() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        std::fs::create_dir(layout.inside()).expect("a directory");
        let plan = Plan::prepare(
            &layout,
            Wish {
                nodes: Some(3),
                ..Wish::default()
            },
        )
        .expect("a plan");
        let text = config(&plan, &plan.nodes[1], &layout.node(2)).expect("a config");
        assert!(text.contains("node_id = 2\n"));
        for node in &plan.nodes {
            assert!(text.contains(&format!(
                "id = {}\naddr = \"127.0.0.1:{}\"",
                node.id, node.port
            )));
        }
        assert!(text.contains(&format!("metrics_listen = \"{}\"", plan.nodes[1].metrics())));
    }

    #[test]
    fn nodes_answer_under_leases_if_this_start_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::create(dir.path()).expect("a layout");
        std::fs::create_dir(layout.inside()).expect("a directory");
        let wish = Wish {
            lease_reads: true,
            ..Wish::default()
        };
        let told = |wish| {
            let plan = Plan::prepare(&layout, wish).expect("a plan");
            config(&plan, &plan.nodes[0], &layout.node(1)).expect("a config")
        };
        assert!(told(wish).ends_with("[raft]\nlease_reads = true\n"));
        assert!(!told(Wish::default()).contains("lease_reads"));
    }

    #[test]
    fn paths_are_escaped_in_config_files() {
        assert_eq!(
            toml_string("/a \"b\"\\c\n").expect("a string"),
            "\"/a \\\"b\\\"\\\\c\\n\""
        );
    }
}
