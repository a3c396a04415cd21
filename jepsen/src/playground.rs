//! `curlew playground` as a script sees it: the command, `playground.json`, and `curlew status`.

use crate::binaries::binary;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A playground directory.
#[derive(Clone, Debug)]
pub struct Playground {
    dir: PathBuf,
}

/// `playground.json`.
#[derive(Clone, Deserialize, Debug)]
pub struct Description {
    /// The side that takes writes.
    pub origin: Side,
    /// The other side, if there is one.
    pub mirror: Option<Side>,
    /// Where blocks go.
    pub object_store: serde_json::Value,
}

/// One side of a playground.
#[derive(Clone, Deserialize, Debug)]
pub struct Side {
    /// What to mount.
    pub meta_url: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The mount's process.
    pub mount_pid: i32,
    /// Its metadata nodes.
    pub nodes: Vec<SideNode>,
}

/// A node of a playground.
#[derive(Clone, Deserialize, Debug)]
pub struct SideNode {
    /// Its id.
    pub id: u64,
    /// Its process.
    pub pid: i32,
    /// Where it speaks to clients.
    pub addr: String,
    /// Where it serves metrics.
    pub metrics: String,
}

impl Side {
    /// Addresses of all nodes.
    pub fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.addr.clone()).collect()
    }

    /// A node by its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, id: u64) -> Result<&SideNode> {
        let found = self.nodes.iter().find(|node| node.id == id);
        found.with_context(|| format!("playground.json has no node {id}"))
    }
}

/// `curlew status --json`.
#[derive(Clone, Deserialize, Debug)]
pub struct Status {
    /// The volume's name.
    pub volume: String,
    /// Its role here.
    pub role: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its last change.
    pub seq: u64,
    /// The node that leads.
    pub leader: Option<u64>,
    /// Every node.
    pub nodes: Vec<StatusNode>,
    /// The digest of the volume's rows.
    pub digest: Option<String>,
}

/// A node in `curlew status --json`.
#[derive(Clone, Deserialize, Debug)]
pub struct StatusNode {
    /// Its id.
    pub id: u64,
    /// `leader`, `follower`, or why not.
    pub state: String,
    /// The log index that it has applied.
    pub applied: Option<u64>,
}

impl Playground {
    /// The playground in `dir`, which need not exist.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Whether one was started here and not stopped.
    pub fn is_described(&self) -> bool {
        self.dir.join("playground.json").exists()
    }

    /// Reads `playground.json`.
    ///
    /// # Errors
    /// When it is not there or not as agreed.
    pub fn description(&self) -> Result<Description> {
        let path = self.dir.join("playground.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// Runs `curlew playground --dir DIR` with more arguments.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        Command::new(binary("curlew")?)
            .arg("playground")
            .arg("--dir")
            .arg(&self.dir)
            .args(arguments)
            .output()
            .context("cannot run curlew playground")
    }

    /// The same, and it must succeed.
    ///
    /// # Errors
    /// When it does not; what it said is in the error.
    pub fn must(&self, arguments: &[&str]) -> Result<()> {
        let output = self.run(arguments)?;
        if !output.status.success() {
            bail!(
                "curlew playground {} failed ({}):\n{}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// Runs `curlew status URL --json`.
///
/// # Errors
/// When it fails or prints anything but the agreed object.
pub fn status(url: &str) -> Result<Status> {
    let output = Command::new(binary("curlew")?)
        .args(["status", url, "--json"])
        .output()
        .context("cannot run curlew status")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("curlew status failed ({}): {said}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "cannot parse the status: {}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

/// Kills a playground's node with SIGKILL, after a look at whether the process is one.
///
/// # Errors
/// When the process is not a metadata node of this playground, or is gone.
pub fn kill_node(node: &SideNode) -> Result<()> {
    let command = fs::read(format!("/proc/{}/cmdline", node.pid))
        .with_context(|| format!("node {} (pid {}) does not run", node.id, node.pid))?;
    if !String::from_utf8_lossy(&command).contains("curlew-meta") {
        bail!(
            "pid {} is not a metadata node: playground.json is out of date",
            node.pid
        );
    }
    let pid = Pid::from_raw(node.pid).context("a pid is not 0")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill node {}", node.id))
}
