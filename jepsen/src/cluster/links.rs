//! The links between the nodes of a cluster, of which each can fall silent, be slow, and lose things.

use super::node::Node;
use super::proxied::Proxied;
use super::routed::Routed;
use anyhow::Result;
use std::fmt;
use std::time::Duration;

/// From which node to which.
pub type Way = (u64, u64);

/// How slow a way is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Between networks of their own: how long a packet of the greatest length takes, so that those
    /// behind it wait. On loopback: how long each piece is under way, more or less.
    pub by: Duration,
    /// Where the randomness of more or less begins.
    pub seed: u64,
}

/// How much a way loses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Loss {
    /// Between networks of their own: the share of packets that is lost. On loopback: connections are
    /// cut where the first packet would be lost, more or less.
    pub share: f64,
    /// Where the randomness begins, on loopback; in a network the system has its own.
    pub seed: u64,
}

/// What the links are made of. Each fault is told with all ways that have it.
pub(super) trait Carrier: fmt::Debug + Send + Sync {
    /// Where a way begins, if that is not where it ends.
    fn addr(&self, way: Way) -> Option<String>;

    fn silence(&self, ways: &[Way]) -> Result<()>;

    fn slow(&self, ways: &[Way], pace: Pace) -> Result<()>;

    fn lossy(&self, ways: &[Way], loss: Loss) -> Result<()>;

    fn heal(&self, reset: bool) -> Result<()>;

    /// Packets or pieces that were slow so far.
    fn slowed(&self) -> Result<u64>;

    /// Packets or connections that were lost so far.
    fn lost(&self) -> Result<u64>;
}

/// All ways between the nodes. Clients do not use them: they reach every node at any time, also one
/// that its peers do not.
#[derive(Debug)]
pub struct Links {
    ways: Vec<Way>,
    carrier: Box<dyn Carrier>,
}

impl Links {
    /// A proxy for each way.
    ///
    /// # Errors
    /// When one cannot listen.
    pub(super) async fn proxied(nodes: &[Node]) -> Result<Self> {
        let ways = between(nodes);
        let carrier = Box::new(Proxied::start(nodes, &ways).await?);
        Ok(Self { ways, carrier })
    }

    /// The ways that nodes with networks of their own have.
    ///
    /// # Errors
    /// When one has none.
    pub(super) fn routed(nodes: &[Node]) -> Result<Self> {
        let ways = between(nodes);
        let carrier = Box::new(Routed::between(nodes)?);
        Ok(Self { ways, carrier })
    }

    /// Where `from` reaches `to`, if that is not where `to` listens.
    pub(super) fn addr(&self, from: u64, to: u64) -> Option<String> {
        self.carrier.addr((from, to))
    }

    /// All ways.
    pub fn ways(&self) -> Vec<Way> {
        self.ways.clone()
    }

    /// Lets exactly these ways bring nothing. Between networks of their own, no packet comes from the
    /// one to the other, so that a connection that needs both directions stands still, whoever began
    /// it. Through a proxy, what is sent on a connection of the one to the other waits, and an answer
    /// travels the way of its question.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn silence(&self, ways: &[Way]) -> Result<()> {
        self.carrier.silence(ways)
    }

    /// Lets exactly these ways be slow. All that they bring keeps its order.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn slow(&self, ways: &[Way], pace: Pace) -> Result<()> {
        self.carrier.slow(ways, pace)
    }

    /// Lets exactly these ways lose some of what they bring.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lossy(&self, ways: &[Way], loss: Loss) -> Result<()> {
        self.carrier.lossy(ways, loss)
    }

    /// Lets all ways bring everything, at once. What waited comes late, or, with `reset`, never.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&self, reset: bool) -> Result<()> {
        self.carrier.heal(reset)
    }

    /// Packets, or pieces on loopback, that went a slow way so far.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn slowed(&self) -> Result<u64> {
        self.carrier.slowed()
    }

    /// Packets, or connections on loopback, that were lost on silent or lossy ways so far.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn lost(&self) -> Result<u64> {
        self.carrier.lost()
    }
}

fn between(nodes: &[Node]) -> Vec<Way> {
    let ids = || nodes.iter().map(Node::id);
    ids()
        .flat_map(|from| ids().map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect()
}
