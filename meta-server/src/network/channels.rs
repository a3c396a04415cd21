//! The connections to peers.

use meta_client::transport;
use parking_lot::Mutex;
use raft_store::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A connection that is not made in this time is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A silent connection is probed this often, and dropped if the probe is not answered.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Purpose {
    Messages,
    Bulk,
}

/// One channel per peer and purpose, made when first asked for.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Addresses from this node's configuration, which come before those in the membership: an
    /// administrator can change how a peer is reached without a membership change.
    configured: BTreeMap<NodeId, String>,
    open: Mutex<BTreeMap<(NodeId, Purpose), (String, Channel)>>,
}

/// An address that no channel can be made for.
#[derive(Debug, thiserror::Error)]
#[error("{addr} is no address: {source}")]
pub(crate) struct AddressError {
    addr: String,
    source: tonic::transport::Error,
}

impl Channels {
    pub(crate) fn new(configured: BTreeMap<NodeId, String>) -> Self {
        Self {
            configured,
            open: Mutex::default(),
        }
    }

    /// For Raft messages and administration.
    pub(crate) fn messages(&self, peer: NodeId, addr: &str) -> Result<Channel, AddressError> {
        self.channel(peer, Purpose::Messages, addr)
    }

    /// For snapshots.
    pub(crate) fn bulk(&self, peer: NodeId, addr: &str) -> Result<Channel, AddressError> {
        self.channel(peer, Purpose::Bulk, addr)
    }

    fn channel(
        &self,
        peer: NodeId,
        purpose: Purpose,
        known: &str,
    ) -> Result<Channel, AddressError> {
        let addr = self.configured.get(&peer).map_or(known, String::as_str);
        let mut open = self.open.lock();
        if let Some((open_addr, channel)) = open.get(&(peer, purpose))
            && open_addr == addr
        {
            return Ok(channel.clone());
        }
        let channel = connect(addr)?;
        open.insert((peer, purpose), (addr.to_owned(), channel.clone()));
        Ok(channel)
    }
}

/// A channel that connects when it is used, and again after each failure.
fn connect(addr: &str) -> Result<Channel, AddressError> {
    let endpoint =
        Endpoint::from_shared(format!("http://{addr}")).map_err(|source| AddressError {
            addr: addr.to_owned(),
            source,
        })?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    Ok(transport::connect_lazy(&endpoint))
}
