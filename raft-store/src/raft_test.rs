//! One real Raft node over each store: what a proposer is told, and what a restart keeps.

use crate::error::StoreError;
use crate::snapshot::SnapshotFiles;
use crate::store::{Store, open_memory_with};
use crate::testing::{history, parts, volumes};
use crate::types::{Applied, CommandBytes, NodeId, NodeInfo, TypeConfig, Vote};
use meta_core::outcome::{Outcome, Success};
use openraft::entry::EntryPayload;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{Config, Raft};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A network without anybody on it.
struct Nobody;

fn unreachable() -> Unreachable<TypeConfig> {
    Unreachable::new(&StoreError::Refused(String::from("nobody is there")))
}

impl RaftNetworkFactory<TypeConfig> for Nobody {
    type Network = Self;

    async fn new_client(&mut self, _target: NodeId, _node: &NodeInfo) -> Self {
        Self
    }
}

impl RaftNetworkV2<TypeConfig> for Nobody {
    type SnapshotData = SnapshotFiles;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<TypeConfig, SnapshotFiles>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(unreachable().into())
    }
}

type Node = Raft<TypeConfig, crate::state::StateMachine>;

async fn start(store: Store) -> Node {
    let config = Config {
        max_in_snapshot_log_to_keep: 5,
        ..Config::default()
    };
    let config = Arc::new(config.validate().unwrap());
    Raft::new(1, config, Nobody, store.log, store.machine)
        .await
        .unwrap()
}

fn commands(end: u64) -> Vec<CommandBytes> {
    let commands = history(end)
        .into_iter()
        .filter_map(|entry| match entry.payload {
            EntryPayload::Normal(command) => Some(command),
            _ => None,
        });
    commands.collect()
}

const WAIT: Option<Duration> = Some(Duration::from_secs(20));

async fn lead(node: &Node) {
    let info = NodeInfo {
        addr: "a:1".into(),
        ..NodeInfo::default()
    };
    let members = BTreeMap::from([(1, info)]);
    node.initialize(members).await.unwrap();
    node.wait(WAIT).current_leader(1, "it leads").await.unwrap();
}

async fn propose(node: &Node, commands: Vec<CommandBytes>) {
    let mut writes = Vec::new();
    for command in commands {
        let node = node.clone();
        writes.push(tokio::spawn(
            async move { node.client_write(command).await },
        ));
    }
    for write in writes {
        let applied = write.await.unwrap().unwrap().data;
        let Applied::Reply(reply) = applied else {
            panic!("no reply");
        };
        let done = matches!(
            reply.outcome,
            Outcome::Done(Success::Volume(_) | Success::Done)
        );
        assert!(done, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposers_are_answered_by_the_store_in_memory() {
    let store = open_memory_with(&parts()).unwrap();
    let reader = store.reader.clone();
    let node = start(store).await;
    lead(&node).await;
    let mut all = commands(100);
    propose(&node, all.drain(..1).collect()).await;
    propose(&node, all).await;
    assert_eq!(volumes(&reader), 98);
    node.shutdown().await.unwrap();
}

#[cfg(feature = "rocksdb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_what_it_answered_over_snapshot_purge_and_restart() {
    let dir = tempfile::TempDir::new().unwrap();
    let options = crate::options::StoreOptions::new(dir.path());
    let store = crate::store::open_with(&options, &parts()).unwrap();
    let reader = store.reader.clone();
    let node = start(store).await;
    lead(&node).await;
    let mut all = commands(60);
    propose(&node, all.drain(..1).collect()).await;
    propose(&node, all).await;
    let applied = reader.applied().unwrap();
    node.trigger().snapshot().await.unwrap();
    node.wait(WAIT)
        .snapshot(applied, "a snapshot")
        .await
        .unwrap();
    let kept = applied.index - 5;
    node.wait(WAIT)
        .metrics(
            |m| m.purged.is_some_and(|id| id.index >= kept),
            "the log is purged",
        )
        .await
        .unwrap();
    let stats = reader.stats().unwrap();
    assert!(stats.flushed >= stats.log_purged && stats.log_purged.is_some());
    assert!(stats.snapshot_bytes > 0);
    node.shutdown().await.unwrap();
    drop((node, reader));

    let image = tempfile::TempDir::new().unwrap();
    crate::crash_test::copy_tree(dir.path(), image.path());
    let options = crate::options::StoreOptions::new(image.path());
    let store = crate::store::open_with(&options, &parts()).unwrap();
    let reader = store.reader.clone();
    let node = start(store).await;
    node.wait(WAIT)
        .current_leader(1, "it leads again")
        .await
        .unwrap();
    assert_eq!(volumes(&reader), 58);
    node.shutdown().await.unwrap();
}
