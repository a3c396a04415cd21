//! The mirror role: for each volume that follows another cluster, the leader here reads the
//! origin's changelog and proposes what comes to its own group.
//!
//! What decides is replicated: `meta_core` checks each record against the rows and the chain, and
//! stops the mirror by itself. What is here only carries, and checks what the replicated state
//! cannot see: that the stream itself has no gap and no repeat.

mod batch;
pub(crate) mod board;
mod follower;

use crate::failure::Failure;
use crate::node::Core;
use follower::Follower;
use meta_core::ids::VolumeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// How often new mirrors are looked for, when nobody says that there is one.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clears the board when it is dropped.
struct Forgotten(Arc<Core>);

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.0.mirrors.clear();
    }
}

/// Follows for all mirrors, until the leadership ends.
pub(crate) async fn run(core: Arc<Core>) {
    // What was heard is forgotten with the leadership: it would grow old and look like a lag.
    let _forgotten = Forgotten(Arc::clone(&core));
    // Dropping the set ends the followers.
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<VolumeId, AbortHandle> = BTreeMap::new();
    loop {
        let looked = match core.reads.pass().await {
            Ok(()) => mirrors(&core).await,
            Err(failure) => Err(failure),
        };
        match looked {
            Ok(found) => {
                running.retain(|_, task| !task.is_finished());
                for volume in found {
                    running.entry(volume).or_insert_with(|| {
                        tasks.spawn(Follower::new(Arc::clone(&core), volume).run())
                    });
                }
            }
            Err(failure) => tracing::debug!(%failure, "the look for mirrors failed"),
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = core.mirror_made.notified() => {}
        }
    }
}

/// The volumes that follow another cluster, as applied here.
pub(crate) async fn mirrors(core: &Arc<Core>) -> Result<Vec<VolumeId>, Failure> {
    let reading = {
        let core = Arc::clone(core);
        raft_store::offload(move || {
            let read = core.reader.with_view(|view| meta_core::read::mirrors(view));
            read.and_then(|found| found)
                .map_err(|fatal| core.fatal(&fatal))
        })
    };
    reading
        .await
        .map_err(|error| Failure::unavailable(error.to_string()))?
}
