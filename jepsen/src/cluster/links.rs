//! The links between the nodes of a cluster, each a proxy of its own for each direction, so that any
//! of them can fall silent.

use super::node::Node;
use crate::proxy::Proxy;
use anyhow::Result;
use std::collections::BTreeMap;

/// From which node to which.
pub type Way = (u64, u64);

/// All ways between the nodes. Clients do not use them: they reach every node at any time, also one
/// that its peers do not.
#[derive(Debug)]
pub struct Links {
    proxies: BTreeMap<Way, Proxy>,
}

impl Links {
    /// A proxy for each way.
    ///
    /// # Errors
    /// When one cannot listen.
    pub(super) async fn between(nodes: &[Node]) -> Result<Self> {
        let mut proxies = BTreeMap::new();
        for from in nodes {
            for to in nodes.iter().filter(|to| to.id() != from.id()) {
                let proxy = Proxy::start(to.addr()).await?;
                proxies.insert((from.id(), to.id()), proxy);
            }
        }
        Ok(Self { proxies })
    }

    /// Where `from` reaches `to`; nothing for a node itself.
    pub(super) fn addr(&self, from: u64, to: u64) -> Option<String> {
        self.proxies.get(&(from, to)).map(Proxy::addr)
    }

    /// All ways.
    pub fn ways(&self) -> Vec<Way> {
        self.proxies.keys().copied().collect()
    }

    /// Lets exactly these ways bring nothing: what is sent waits. An answer travels the way of its
    /// question, so a silent way loses both.
    pub fn silence(&self, ways: &[Way]) {
        for (way, proxy) in &self.proxies {
            proxy.hold(ways.contains(way));
        }
    }

    /// Lets all ways bring everything. What waited comes late, or, with `reset`, never.
    pub fn heal(&self, reset: bool) {
        for proxy in self.proxies.values() {
            if reset {
                proxy.cut();
            }
            proxy.hold(false);
        }
    }
}
