//! Links on loopback: a proxy of its own for each way.

use super::links::{Carrier, Loss, Pace, Way};
use super::node::Node;
use crate::proxy::Proxy;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// The proxies.
#[derive(Debug)]
pub(super) struct Proxied(BTreeMap<Way, Proxy>);

impl Proxied {
    pub(super) async fn start(nodes: &[Node], ways: &[Way]) -> Result<Self> {
        let mut proxies = BTreeMap::new();
        for way in ways {
            let to = nodes.iter().find(|node| node.id() == way.1);
            let to = to.context("a way to nowhere")?;
            proxies.insert(*way, Proxy::start(to.addr()).await?);
        }
        Ok(Self(proxies))
    }
}

/// Another beginning for each way.
fn seed(seed: u64, way: Way) -> u64 {
    seed.wrapping_mul(31).wrapping_add(way.0 << 32 | way.1)
}

impl Carrier for Proxied {
    fn addr(&self, way: Way) -> Option<String> {
        self.0.get(&way).map(Proxy::addr)
    }

    fn silence(&self, ways: &[Way]) -> Result<()> {
        for (way, proxy) in &self.0 {
            proxy.hold(ways.contains(way));
        }
        Ok(())
    }

    fn slow(&self, ways: &[Way], pace: Pace) -> Result<()> {
        for (way, proxy) in &self.0 {
            let slow = ways.contains(way);
            proxy.slow(slow.then(|| (pace.by, seed(pace.seed, *way))));
        }
        Ok(())
    }

    fn lossy(&self, ways: &[Way], loss: Loss) -> Result<()> {
        for (way, proxy) in &self.0 {
            let lossy = ways.contains(way);
            proxy.lose(lossy.then(|| (loss.share, seed(loss.seed, *way))));
        }
        Ok(())
    }

    fn heal(&self, reset: bool) -> Result<()> {
        for proxy in self.0.values() {
            if reset {
                proxy.cut();
            }
            proxy.hold(false);
            proxy.slow(None);
            proxy.lose(None);
        }
        Ok(())
    }

    fn slowed(&self) -> Result<u64> {
        Ok(self.0.values().map(Proxy::slowed).sum())
    }

    fn lost(&self) -> Result<u64> {
        Ok(self.0.values().map(Proxy::lost).sum())
    }
}
