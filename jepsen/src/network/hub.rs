//! The namespace of the harness and its clients: a switch that all nodes are plugged into.

use super::space::{Space, leave};
use super::tools::run;
use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const SWITCH: &str = "hub";
/// All nodes and the harness are in one network of this size.
pub(super) const MASK_BITS: u8 = 16;
/// The numbers of clusters, and of nodes in each.
const NUMBER_MAX: u8 = 254;

/// The network namespace that this process is in, which it made itself: nothing is there but what a run
/// puts there, and nothing leads out of it. It is gone when the process is.
#[derive(Debug)]
pub struct Hub {
    subnets: AtomicU8,
}

impl Hub {
    /// The harness's address, for nodes.
    pub const ADDR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// Moves this process into a namespace of its own. It must not have a second thread yet.
    pub(super) fn enter() -> Result<Arc<Self>> {
        leave()?;
        furnish()?;
        Ok(Arc::new(Self {
            subnets: AtomicU8::new(0),
        }))
    }

    /// Addresses for one more cluster.
    ///
    /// # Errors
    /// When all are given away.
    pub fn subnet(&self) -> Result<Subnet> {
        let next = |given| (given < NUMBER_MAX).then_some(given + 1);
        let before = self
            .subnets
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let before = before.ok().context("there are too many clusters")?;
        Ok(Subnet { number: before + 1 })
    }
}

/// The addresses of one cluster.
#[derive(Clone, Debug)]
pub struct Subnet {
    number: u8,
}

impl Subnet {
    /// A namespace for a node of this cluster, plugged into the hub.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn space(&self, node: u64) -> Result<Arc<Space>> {
        let node = u8::try_from(node).context("there are too many nodes")?;
        ensure!((1..=NUMBER_MAX).contains(&node), "there are too many nodes");
        let end = format!("s{}n{node}", self.number);
        let addr = Ipv4Addr::new(10, 77, self.number, node);
        let space = Space::make(addr, &end)?;
        let plug = format!("link set {end} gso_max_segs 1 master {SWITCH} up");
        run("ip", &plug)?;
        Ok(Arc::new(space))
    }
}

/// Puts loopback and the switch into the namespace of the calling thread.
pub(super) fn furnish() -> Result<()> {
    run("ip", "link set lo up")?;
    run("ip", &format!("link add {SWITCH} type bridge"))?;
    run(
        "ip",
        &format!("addr add {}/{MASK_BITS} dev {SWITCH}", Hub::ADDR),
    )?;
    run("ip", &format!("link set {SWITCH} up")).map(drop)
}
