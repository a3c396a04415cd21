//! `curlew-meta`: one metadata node, and the command that initialises its cluster.

use clap::{Parser, Subcommand};
use meta_server::config::NodeConfig;
use meta_server::members_command::{self, Cluster};
use meta_server::{Node, logging, open_files};
use proto::v1;
use proto::v1::admin_client::AdminClient;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Endpoint;

/// A node's memory is that of many small rows, kept for longer and shorter: libc's allocator keeps half
/// as much again in pieces that nothing fits into. RocksDB's allocations go here too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Make a running node without data a member of a cluster; safe to repeat.
    Join {
        /// The new node's configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Nodes of the cluster: HOST:PORT[,HOST:PORT...]
        #[arg(long)]
        cluster: Cluster,
    },
    /// Make a member that has lost its data a member again: it runs with its number, its address
    /// and an empty data_dir; safe to repeat.
    Replace {
        /// The node's configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Nodes of the cluster: HOST:PORT[,HOST:PORT...]
        #[arg(long)]
        cluster: Cluster,
    },
    /// Take a node out of its cluster, whether it runs or not; safe to repeat.
    Leave {
        /// The node's number.
        #[arg(long)]
        id: u64,
        /// Nodes of the cluster: HOST:PORT[,HOST:PORT...]
        #[arg(long)]
        cluster: Cluster,
    },
    /// Show the members of a cluster.
    Members {
        /// Nodes of the cluster: HOST:PORT[,HOST:PORT...]
        #[arg(long)]
        cluster: Cluster,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a node that does not run the only member of its cluster, after more than half of the
    /// members were lost for good.
    Recover {
        /// The configuration file of the node that has the newest data.
        #[arg(long)]
        config: PathBuf,
        /// That the other members never run again with the data they have.
        #[arg(long)]
        the_others_are_lost: bool,
    },
}

impl Command {
    fn config(&self) -> Option<&Path> {
        match self {
            Self::Serve { config }
            | Self::Check { config, .. }
            | Self::Init { config }
            | Self::Join { config, .. }
            | Self::Replace { config, .. }
            | Self::Recover { config, .. } => Some(config),
            Self::Leave { .. } | Self::Members { .. } => None,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match arguments.command.config().map(NodeConfig::load).transpose() {
        Ok(config) => config,
        Err(error) => return end(USAGE, &format!("bad configuration: {error}")),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(config) = &config {
        runtime.worker_threads(config.worker_threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(FAILED, &format!("cannot start threads: {error}")),
    };
    let done = match (arguments.command, config) {
        (Command::Serve { .. }, Some(config)) => runtime.block_on(serve(config)),
        (Command::Init { config: path }, Some(config)) => runtime.block_on(init(&config, &path)),
        (Command::Check { json, .. }, Some(config)) => check(&config, json),
        (Command::Join { cluster, .. }, Some(config)) => {
            runtime.block_on(members_command::join(&config, &cluster, say))
        }
        (Command::Replace { cluster, .. }, Some(config)) => {
            runtime.block_on(members_command::replace(&config, &cluster, say))
        }
        (
            Command::Recover {
                the_others_are_lost,
                ..
            },
            Some(config),
        ) => runtime.block_on(recover(&config, the_others_are_lost)),
        (Command::Leave { id, cluster }, _) => {
            runtime.block_on(members_command::leave(id, &cluster, say))
        }
        (Command::Members { cluster, json }, _) => {
            runtime.block_on(members_command::members(&cluster, json))
        }
        (_, None) => Err(anyhow::anyhow!("no configuration was read")),
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
    open_files::raise_limit();
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

async fn recover(config: &NodeConfig, the_others_are_lost: bool) -> anyhow::Result<()> {
    let found = meta_server::recover::look(config).await?;
    println!("{found}");
    if !the_others_are_lost {
        anyhow::bail!(
            "nothing was changed. Compare this with the other nodes that are left and choose the one \
             with the newest log entry: what it lacks is lost. Then run this again there with \
             --the-others-are-lost, start that node, and let each other node join with an empty \
             data_dir"
        );
    }
    meta_server::recover::recover(config).await?;
    println!("this node is the only member now: start it, and let others join");
    Ok(())
}

async fn init(config: &NodeConfig, path: &Path) -> anyhow::Result<()> {
    let addr = members_command::own_addr(config);
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

fn say(line: &str) {
    println!("{line}");
}
