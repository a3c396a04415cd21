//! Starting one dead metadata node again.

use super::layout::Layout;
use super::lock::Lock;
use super::node::{self, Node};
use super::plan::Plan;
use super::record;
use super::state::State;
use crate::progress::Progress;
use anyhow::{Result, anyhow, bail};
use std::time::Duration;

/// How long the node may take to join its cluster again.
const LIMIT: Duration = Duration::from_secs(20);

/// A process that was killed a moment ago still has its memory to give back.
const DYING_LIMIT: Duration = Duration::from_secs(2);

/// Starts the node and puts its new process into `playground.json`; its pid.
pub(super) async fn restart(layout: &Layout, id: u64, progress: &Progress) -> Result<u32> {
    let program = node::program()?;
    let _lock = Lock::take(layout).await?;
    let not_running = || {
        anyhow!(
            "no playground is running in {0}; `curlew playground --dir {0}` starts it",
            layout.dir().display()
        )
    };
    let plan = Plan::load(layout)?.ok_or_else(not_running)?;
    let mut state = State::load(layout)?.ok_or_else(not_running)?;
    plan.node(id)?;
    if let Some(process) = record::alive(&layout.node(id).record())?
        && !process.wait_gone(DYING_LIMIT).await
    {
        bail!(
            "node {id} is running (process {}): only a dead node is restarted",
            process.pid()
        );
    }
    progress.step(&format!("starting metadata node {id}"));
    let mut node = Node::start(&program, layout, &plan, id)?;
    // Stored before the node is healthy: it runs from here on, whatever comes of it.
    state.set_node_pid(id, node.process.pid())?;
    state.store(layout)?;
    node.wait(LIMIT, "joined its cluster", node::is_healthy)
        .await?;
    Ok(node.process.pid())
}
