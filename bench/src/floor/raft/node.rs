//! One process of the floor.

use super::Measured;
use super::machine::Forgetful;
use super::network::{Heard, MESSAGE_BYTES_MAX, Ways};
use anyhow::{Context, Result};
use clap::Args;
use jepsen::wait;
use meta_client::bench::create_command;
use openraft::{Config, SnapshotPolicy};
use proto::codec::encode_command;
use proto::v1::raft_server::RaftServer;
use raft_store::{CommandBytes, Incarnation, NodeInfo, StoreOptions, TypeConfig};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

type Raft = openraft::Raft<TypeConfig, Forgetful>;

const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `bench raft-node`.
#[derive(Args, Debug)]
pub(crate) struct RaftNodeArgs {
    /// Its place among the nodes, from 1
    #[arg(long)]
    id: u64,
    /// Addresses of all nodes
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<String>,
    /// Where its log lies
    #[arg(long)]
    dir: PathBuf,
    /// The file that gets what was measured; without it the node only serves
    #[arg(long)]
    result: Option<PathBuf>,
    /// Entries in flight at once
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// For how long
    #[arg(long, default_value_t = 1000)]
    ms: u64,
}

/// Serves until it is killed, or measures.
pub(crate) async fn serve_raft(args: &RaftNodeArgs) -> Result<ExitCode> {
    let place = usize::try_from(args.id)?.checked_sub(1);
    let own = place.and_then(|place| args.nodes.get(place));
    let listener = TcpListener::bind(own.context("no address for this node")?).await?;
    let raft = start(args).await?;
    let service = RaftServer::new(Heard(raft.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let Some(result) = &args.result else {
        serving.await?;
        return Ok(ExitCode::FAILURE);
    };
    let serving = tokio::spawn(serving);
    let measured = measure(&raft, args).await?;
    fs::write(result, serde_json::to_vec(&measured)?)?;
    serving.abort();
    Ok(ExitCode::SUCCESS)
}

/// With the settings of a node that decide how fast it is.
async fn start(args: &RaftNodeArgs) -> Result<Raft> {
    let config = Config {
        heartbeat_interval: 150,
        election_timeout_min: 2_000,
        election_timeout_max: 4_000,
        max_payload_entries: 512,
        snapshot_policy: SnapshotPolicy::Never,
        api_channel_size: Some(65_536),
        notification_channel_size: Some(65_536),
        ..Config::default()
    };
    let options = StoreOptions::new(args.dir.clone());
    let codec = Arc::new(proto::ProstCodec);
    let store = tokio::task::spawn_blocking(move || raft_store::open(&options, codec)).await??;
    let config = Arc::new(config.validate()?);
    let machine = Forgetful::default();
    Ok(Raft::new(args.id, config, Ways, store.log, machine).await?)
}

async fn measure(raft: &Raft, args: &RaftNodeArgs) -> Result<Measured> {
    for addr in &args.nodes {
        wait::until("a node to listen", PATIENCE, async || {
            let reached = TcpStream::connect(addr.as_str()).await;
            Ok(reached.map(drop).map_err(|error| error.to_string()))
        })
        .await?;
    }
    let info = |addr: &String| NodeInfo {
        addr: addr.clone(),
        incarnation: Incarnation::default(),
    };
    let members: BTreeMap<u64, NodeInfo> = (1..).zip(args.nodes.iter().map(info)).collect();
    raft.initialize(members).await?;
    let waiting = raft.wait(Some(PATIENCE));
    waiting
        .current_leader(args.id, "the floor's leader")
        .await?;
    // The first entry waits for a connection to each node, and for the leader's lease.
    wait::until("the first entry", PATIENCE, async || {
        let written = write(raft, 0).await;
        Ok(written.map_err(|error| error.to_string()))
    })
    .await?;
    let time = Duration::from_millis(args.ms);
    let begin = Instant::now();
    let working: Vec<_> = (0..args.in_flight)
        .map(|_| {
            let raft = raft.clone();
            tokio::spawn(async move {
                let mut each = Vec::new();
                while begin.elapsed() < time {
                    let start = Instant::now();
                    write(&raft, each.len() as u64 + 1).await?;
                    each.push(nanos(start.elapsed()));
                }
                Ok::<_, anyhow::Error>(each)
            })
        })
        .collect();
    let mut each_ns = Vec::new();
    for work in working {
        each_ns.extend(work.await??);
    }
    Ok(Measured {
        took_ns: nanos(begin.elapsed()),
        each_ns,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

async fn write(raft: &Raft, number: u64) -> Result<()> {
    let command = create_command(number).context("a create")?;
    let bytes = CommandBytes(encode_command(&command).into());
    raft.client_write(bytes).await?;
    Ok(())
}
