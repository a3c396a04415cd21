//! A state machine that forgets everything.

use futures::{Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use raft_store::{Applied, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use std::io;

/// Only knows how far it is.
#[derive(Debug, Default)]
pub(super) struct Forgetful {
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// It has nothing to take a snapshot of, and nobody asks it to.
#[derive(Debug)]
pub(super) struct NoSnapshot;

fn no_snapshot() -> io::Error {
    io::Error::other("this machine takes no snapshots")
}

impl RaftStateMachine<TypeConfig> for Forgetful {
    type SnapshotData = ();
    type SnapshotBuilder = NoSnapshot;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied::Nothing);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshot {
        NoSnapshot
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, _snapshot: ()) -> io::Result<()> {
        Err(no_snapshot())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshot {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        Err(no_snapshot())
    }
}
