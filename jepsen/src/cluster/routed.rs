//! Links between nodes with networks of their own: what a node does to packets from its peers and to
//! them.

use super::links::{Carrier, Loss, Pace, Way};
use super::node::Node;
use crate::network::{self, Space};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The nodes' networks.
#[derive(Debug)]
pub(super) struct Routed {
    spaces: BTreeMap<u64, Arc<Space>>,
    faults: Mutex<Faults>,
}

/// The faults of the present, and what those before have hit.
#[derive(Default, Debug)]
struct Faults {
    silent: BTreeSet<Way>,
    lossy: BTreeMap<Way, f64>,
    slow: BTreeMap<Way, Duration>,
    lost: u64,
    slowed: u64,
}

impl Routed {
    pub(super) fn between(nodes: &[Node]) -> Result<Self> {
        let space = |node: &Node| {
            let space = node.seat.space.clone();
            let space = space.with_context(|| format!("node {} has no network", node.id()));
            Ok((node.id(), space?))
        };
        Ok(Self {
            spaces: nodes.iter().map(space).collect::<Result<_>>()?,
            faults: Mutex::default(),
        })
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addr_of(&self, id: u64) -> Result<Ipv4Addr> {
        let space = self.spaces.get(&id);
        space
            .map(|space| space.addr())
            .with_context(|| format!("there is no way to node {id}"))
    }

    /// Sums up what is counted in each network.
    fn count(&self, counted: fn() -> Result<u64>) -> Result<u64> {
        let counts = self.spaces.values().map(|space| space.within(counted)?);
        counts.sum()
    }

    /// Loses packets where they arrive: those who sent them cannot know.
    fn shed(&self, faults: &mut Faults) -> Result<()> {
        // New rules count from zero.
        faults.lost += self.count(network::dropped)?;
        for (id, space) in &self.spaces {
            let mut shares = Vec::new();
            for (from, to) in &faults.silent {
                if to == id {
                    shares.push((self.addr_of(*from)?, 1.0));
                }
            }
            for ((from, to), share) in &faults.lossy {
                if to == id {
                    shares.push((self.addr_of(*from)?, *share));
                }
            }
            space.within(move || network::shed(&shares))??;
        }
        Ok(())
    }

    /// Slows packets where they leave.
    fn pace(&self, faults: &mut Faults) -> Result<()> {
        faults.slowed += self.count(network::paced)?;
        for (id, space) in &self.spaces {
            let mut paces = Vec::new();
            for ((from, to), by) in &faults.slow {
                if from == id {
                    paces.push((self.addr_of(*to)?, *by));
                }
            }
            space.within(move || network::pace(&paces))??;
        }
        Ok(())
    }

    /// Ends all connections between nodes, at both ends: what one end would tell the other may be lost.
    fn reset(&self) -> Result<()> {
        let all: Vec<Ipv4Addr> = self.spaces.values().map(|space| space.addr()).collect();
        for space in self.spaces.values() {
            let mut peers = all.clone();
            peers.retain(|addr| *addr != space.addr());
            space.within(move || network::reset(&peers))??;
        }
        Ok(())
    }
}

impl Carrier for Routed {
    fn addr(&self, _way: Way) -> Option<String> {
        None
    }

    fn silence(&self, ways: &[Way]) -> Result<()> {
        let mut faults = self.faults();
        faults.silent = ways.iter().copied().collect();
        self.shed(&mut faults)
    }

    fn slow(&self, ways: &[Way], pace: Pace) -> Result<()> {
        let mut faults = self.faults();
        faults.slow = ways.iter().map(|way| (*way, pace.by)).collect();
        self.pace(&mut faults)
    }

    fn lossy(&self, ways: &[Way], loss: Loss) -> Result<()> {
        let mut faults = self.faults();
        faults.lossy = ways.iter().map(|way| (*way, loss.share)).collect();
        self.shed(&mut faults)
    }

    fn heal(&self, reset: bool) -> Result<()> {
        if reset {
            self.reset()?;
        }
        let mut faults = self.faults();
        faults.silent.clear();
        faults.lossy.clear();
        self.shed(&mut faults)?;
        if !std::mem::take(&mut faults.slow).is_empty() {
            self.pace(&mut faults)?;
        }
        Ok(())
    }

    fn slowed(&self) -> Result<u64> {
        let faults = self.faults();
        Ok(faults.slowed + self.count(network::paced)?)
    }

    fn lost(&self) -> Result<u64> {
        let faults = self.faults();
        Ok(faults.lost + self.count(network::dropped)?)
    }
}
