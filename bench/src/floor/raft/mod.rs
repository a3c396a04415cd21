//! Durable Raft with a machine that does nothing: entries of a create's size, as many processes as the
//! cluster has, each with the log that a node has.

mod machine;
mod network;
mod node;

pub(crate) use node::{RaftNodeArgs, serve_raft};

use anyhow::{Context, Result, ensure};
use jepsen::port::free_addr;
use jepsen::process::Process;
use meta_client::bench::{Floor, Sample};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the nodes may take beside the time that is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the leader measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    took_ns: u64,
    each_ns: Vec<u64>,
}

/// Entries committed and given to the machine, so many at once, proposed in the leader's process.
pub(crate) async fn raft(
    dir: &Path,
    nodes: u64,
    in_flight: usize,
    time: Duration,
) -> Result<Floor> {
    let dir = dir.join("raft");
    fs::create_dir_all(&dir)?;
    let addrs: Vec<String> = (0..nodes).map(|_| free_addr()).collect::<Result<_>>()?;
    let result = dir.join("result");
    let mut processes = Vec::new();
    // The one that measures comes last: it looks for the others.
    for id in (1..=nodes).rev() {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("raft-node").arg("--id").arg(id.to_string());
        command.arg("--nodes").arg(addrs.join(","));
        command.arg("--dir").arg(dir.join(format!("node{id}")));
        if id == 1 {
            command.arg("--result").arg(&result);
            command.arg("--in-flight").arg(in_flight.to_string());
            command.arg("--ms").arg(time.as_millis().to_string());
        }
        let log = dir.join(format!("node{id}.log"));
        processes.push(Process::spawn("a node of the floor", &mut command, &log)?);
    }
    let measuring = processes.last_mut().context("there is a node")?;
    let status = measuring.wait(PATIENCE + time).await?;
    ensure!(
        status.success(),
        "a node of the floor failed\n{}",
        measuring.log_tail(20)
    );
    let measured: Measured = serde_json::from_slice(&fs::read(&result)?)?;
    drop(processes);
    fs::remove_dir_all(&dir)?;
    let sample = Sample {
        took: Duration::from_nanos(measured.took_ns),
        each: measured
            .each_ns
            .into_iter()
            .map(Duration::from_nanos)
            .collect(),
    };
    Ok(sample.floor("raft"))
}
