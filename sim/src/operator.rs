//! Whoever runs the clusters: takes nodes that lost their data out and in again.

use crate::member::Member;
use meta_server::members_command::{Cluster, replace};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks, and after a command that failed.
const PAUSE: Duration = Duration::from_millis(300);

/// The operator's list of things to do. Clones are the same list.
#[derive(Clone, Default)]
pub(crate) struct Operator {
    /// Nodes with empty disks, and the addresses of their clusters.
    wiped: Arc<Mutex<VecDeque<(Member, String)>>>,
    /// The host whose disk the command says must be emptied once more.
    told: Arc<Mutex<Option<String>>>,
}

impl Operator {
    /// A node lost its data and is started with an empty disk.
    pub(crate) fn replace(&self, member: Member, addrs: String) {
        self.wiped.lock().push_back((member, addrs));
    }

    /// Whether a node of this host is still to be taken in.
    pub(crate) fn is_busy_with(&self, host: &str) -> bool {
        let wiped = self.wiped.lock();
        wiped.iter().any(|(member, _)| member.host == host)
    }

    /// Whether a disk is to be emptied.
    pub(crate) fn is_told(&self) -> bool {
        self.told.lock().is_some()
    }

    /// The host whose disk is to be emptied, which is then done.
    pub(crate) fn take_told(&self) -> Option<String> {
        self.told.lock().take()
    }

    /// Whether there is anything to do.
    pub(crate) fn is_busy(&self) -> bool {
        !self.wiped.lock().is_empty()
    }

    /// Works, on a host of its own.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let next = self.wiped.lock().front().cloned();
            let Some((member, addrs)) = next else {
                continue;
            };
            let Ok(cluster) = addrs.parse::<Cluster>() else {
                unreachable!("addresses of our own")
            };
            let say = |line: &str| tracing::info!(line, "operator");
            match replace(&member.config(), &cluster, say).await {
                Ok(()) => drop(self.wiped.lock().pop_front()),
                // It is run again until it works.
                Err(error) => {
                    tracing::info!(%error, host = member.host, "not replaced yet");
                    if error.to_string().contains("give it an empty data_dir") {
                        *self.told.lock() = Some(member.host.clone());
                    }
                }
            }
        }
    }
}
