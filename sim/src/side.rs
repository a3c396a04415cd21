//! A cluster: its nodes and what they decided.

use crate::ledger::Ledger;
use crate::member::Member;
use crate::network::PORT;
use meta_server::config::RaftTimes;
use raft_store::NodeId;
use raft_store::simulated::{DiskManners, SimDisk};
use std::collections::BTreeMap;
use std::time::Duration;
use turmoil::Sim;

/// One cluster.
pub(crate) struct Side {
    pub(crate) members: Vec<Member>,
    pub(crate) ledger: Ledger,
}

/// How disks usually behave.
pub(crate) const MANNERS: DiskManners = DiskManners {
    round_max: Duration::from_millis(4),
    flush_every: 150,
};

impl Side {
    /// Makes hosts `{prefix}1` and so on, and starts a node on each.
    pub(crate) fn start(
        sim: &mut Sim<'_>,
        prefix: char,
        nodes: u64,
        seed: u64,
        times: &RaftTimes,
    ) -> Self {
        let ledger = Ledger::default();
        let host = |id: NodeId| format!("{prefix}{id}");
        let peers: BTreeMap<_, _> = (1..=nodes)
            .map(|id| (id, format!("{}:{PORT}", host(id))))
            .collect();
        let members = (1..=nodes).map(|id| {
            let disk = SimDisk::new(MANNERS, seed.wrapping_add(id));
            let (ledger, peers) = (ledger.clone(), peers.clone());
            Member::new(id, host(id), disk, ledger, peers, times.clone())
        });
        let members: Vec<_> = members.collect();
        for member in &members {
            let on_host = member.clone();
            sim.host(member.host.as_str(), move || {
                let process = on_host.clone().process();
                async move {
                    process.await;
                    Ok(())
                }
            });
        }
        Self { members, ledger }
    }

    /// Addresses of all nodes.
    pub(crate) fn addrs(&self) -> Vec<String> {
        let hosts = self.members.iter().map(|member| &member.host);
        hosts.map(|host| format!("{host}:{PORT}")).collect()
    }

    /// The META-URL of a volume.
    pub(crate) fn url(&self, volume: &str) -> String {
        format!("curlew://{}/{volume}", self.addrs().join(","))
    }
}
