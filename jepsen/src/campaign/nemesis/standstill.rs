//! Nodes that stop at once, and go on: each kind is what is done to a node, and what undoes it.

use super::fault::{Fault, Hit};
use crate::cluster::{Cluster, Node};
use crate::freezer::freezer_missing;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use std::ops::Range;

/// A kind.
pub(super) struct Standstill {
    begin: fn(&mut Node) -> Result<()>,
    end: fn(&mut Node) -> Result<()>,
    lasts_ms: Range<u64>,
    missing: fn() -> Option<String>,
}

/// SIGKILL, and a new start.
pub(super) const KILL: Standstill = Standstill {
    begin: Node::kill,
    end: Node::start,
    lasts_ms: 200..3_000,
    missing: || None,
};

/// SIGSTOP, and SIGCONT.
pub(super) const PAUSE: Standstill = Standstill {
    begin: Node::pause,
    end: Node::resume,
    lasts_ms: 200..5_000,
    missing: || None,
};

/// A control group that is frozen, and thawed: nobody is told.
pub(super) const FREEZE: Standstill = Standstill {
    begin: Node::freeze,
    end: Node::thaw,
    lasts_ms: 200..5_000,
    missing: freezer_missing,
};

#[async_trait(?Send)]
impl Fault for Standstill {
    fn missing(&self) -> Option<String> {
        (self.missing)()
    }

    fn lasts_ms(&self) -> Range<u64> {
        self.lasts_ms.clone()
    }

    async fn hurt(
        &mut self,
        cluster: &mut Cluster,
        hit: &Hit,
        _rng: &mut StdRng,
    ) -> Result<Vec<u64>> {
        for id in &hit.victims {
            (self.begin)(cluster.node(*id)?)?;
        }
        Ok(hit.victims.clone())
    }

    async fn heal(&mut self, cluster: &mut Cluster, hit: &Hit, _rng: &mut StdRng) -> Result<()> {
        for id in &hit.victims {
            (self.end)(cluster.node(*id)?)?;
        }
        Ok(())
    }
}
