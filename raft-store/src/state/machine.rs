//! openraft's state machine.

use super::applier::{Applier, Applying, BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Core};
use super::store::State;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::snapshot::SnapshotFiles;
use crate::store::Parts;
use crate::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::workers::offload;
use futures::{Stream, StreamExt as _};
use meta_core::failpoint::{self, Point};
use openraft::OptionalSend;
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::SnapshotOf;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Batches handed over before the answers of an earlier one are given.
const BATCHES_AHEAD: usize = 2;

/// The state as openraft's core changes it.
#[derive(Debug)]
pub struct StateMachine {
    state: Arc<State>,
    applier: Applier,
    poison: Poison,
}

/// Takes one snapshot.
#[derive(Debug)]
pub struct SnapshotBuilder {
    state: Arc<State>,
}

impl StateMachine {
    pub(crate) fn spawn(state: Arc<State>, parts: &Parts) -> Result<Self, StoreError> {
        let applier = Applier::spawn(Core {
            state: Arc::clone(&state),
            parts: parts.clone(),
        })?;
        Ok(Self {
            state,
            applier,
            poison: parts.poison.clone(),
        })
    }
}

/// Answers those who proposed a batch's entries, once these are applied.
async fn answer(batch: Applying) -> Result<(), StoreError> {
    for (responder, answer) in batch.done().await? {
        responder.send(answer);
    }
    failpoint::pass(Point::StateAnswered);
    Ok(())
}

fn snapshot(files: SnapshotFiles) -> SnapshotOf<TypeConfig, SnapshotFiles> {
    Snapshot {
        meta: files.meta(),
        snapshot: files,
    }
}

fn command_bytes(item: &EntryResponder<TypeConfig>) -> usize {
    match &item.0.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFiles;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.poison.check()?;
        let position = self.state.position();
        Ok((position.applied, position.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut applying = VecDeque::new();
        while let Some(item) = entries.next().await {
            let item = item?;
            bytes += command_bytes(&item);
            batch.push(item);
            if batch.len() >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
                applying.push_back(self.applier.apply(std::mem::take(&mut batch)).await?);
                bytes = 0;
                if applying.len() > BATCHES_AHEAD
                    && let Some(first) = applying.pop_front()
                {
                    answer(first).await?;
                }
            }
        }
        if !batch.is_empty() {
            applying.push_back(self.applier.apply(batch).await?);
        }
        for batch in applying {
            answer(batch).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            state: Arc::clone(&self.state),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFiles,
    ) -> io::Result<()> {
        Ok(self.applier.install(meta.clone(), snapshot).await?)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFiles>>> {
        self.poison.check()?;
        Ok(self.state.current_snapshot().map(snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFiles;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFiles>> {
        let state = Arc::clone(&self.state);
        match offload(move || state.build_snapshot()).await {
            Ok(built) => Ok(snapshot(built?)),
            Err(error) => Err(StoreError::Snapshot(error.to_string()).into()),
        }
    }
}
