//! `curlew-meta`: one metadata node, and the command that initialises its cluster.

use clap::{Parser, Subcommand};
use meta_server::config::NodeConfig;
use meta_server::{Node, logging};
use proto::v1;
use proto::v1::admin_client::AdminClient;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Endpoint;

/// Failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration.
const USAGE: u8 = 2;

/// Curlew's metadata node.
#[derive(Debug, Parser)]
#[command(name = "curlew-meta", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one metadata node.
    Serve {
        /// The node's configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check the data of a node that does not run: every row, every record, and the rules between
    /// them
    Check {
        /// The node's configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Ask a running node to initialise the cluster of its peers; safe to repeat.
    Init {
        /// The node's configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (Command::Serve { config: path }
    | Command::Init { config: path }
    | Command::Check { config: path, .. }) = &arguments.command;
    let config = match NodeConfig::load(path) {
        Ok(config) => config,
        Err(error) => return end(USAGE, &format!("bad configuration: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return end(FAILED, &format!("cannot start threads: {error}")),
    };
    let done = match &arguments.command {
        Command::Serve { .. } => runtime.block_on(serve(config)),
        Command::Init { .. } => runtime.block_on(init(&config, path)),
        Command::Check { json, .. } => check(&config, *json),
    };
    // Blocking work that is left over must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(FAILED, &format!("{error:#}")),
    }
}

fn end(status: u8, message: &str) -> ExitCode {
    eprintln!("curlew-meta: {message}");
    ExitCode::from(status)
}

async fn serve(config: NodeConfig) -> anyhow::Result<()> {
    logging::init(&config.log);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = Node::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        reason = node.failed() => {
            node.abandon().await;
            anyhow::bail!("the node had to stop: {reason}");
        }
    }
    node.shutdown().await;
    Ok(())
}

fn check(config: &NodeConfig, json: bool) -> anyhow::Result<()> {
    let volumes = meta_server::offline::check(config)?;
    if json {
        let volumes: Vec<_> = volumes
            .iter()
            .map(|volume| {
                serde_json::json!({
                    "volume": volume.name,
                    "seq": volume.seq.0,
                    "digest": volume.digest,
                    "records": volume.records,
                    "problems": volume.problems,
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "volumes": volumes }));
    } else {
        for volume in &volumes {
            println!(
                "{}: seq {}, digest {}, {} records, {} problems",
                volume.name,
                volume.seq,
                volume.digest,
                volume.records,
                volume.problems.len()
            );
            volume.problems.iter().for_each(|what| println!("  {what}"));
        }
    }
    let problems: usize = volumes.iter().map(|volume| volume.problems.len()).sum();
    if problems > 0 {
        anyhow::bail!("{problems} rules do not hold: restore this node from its peers");
    }
    Ok(())
}

async fn init(config: &NodeConfig, path: &Path) -> anyhow::Result<()> {
    let addr = config
        .peers
        .get(&config.node_id)
        .cloned()
        .unwrap_or(config.listen.to_string());
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
    let channel = endpoint
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await;
    let channel = channel.map_err(|_| {
        anyhow::anyhow!(
            "no node answers at {addr}: start it with `curlew-meta serve --config {}`",
            path.display()
        )
    })?;
    let reply = AdminClient::new(channel).init(v1::InitRequest {}).await;
    let reply = reply
        .map_err(|status| anyhow::anyhow!("{}", status.message()))?
        .into_inner();
    let id = <[u8; 16]>::try_from(reply.cluster_id.as_slice())?;
    let state = if reply.already {
        "was initialised before"
    } else {
        "is initialised"
    };
    println!("cluster {} {state}", meta_core::ids::Uuid(id));
    Ok(())
}
