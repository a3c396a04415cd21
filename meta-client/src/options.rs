//! What a session's owner can choose.

use crate::url::MetaUrl;
use std::time::Duration;

/// How a session behaves.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Operations in flight at most, 1 to `meta_core::limits::SLOTS_PER_SESSION_MAX`.
    pub slots: u32,
    /// Queries in flight at most, at least 1.
    pub queries: u32,
    /// Who this is, shown by `status`: JSON, up to `meta_core::limits::SESSION_INFO_BYTES_MAX`.
    pub info: Vec<u8>,
    /// How long an operation or query is tried; `None` is as long as the session is open.
    pub retry_for: Option<Duration>,
    /// How long opening the session may take.
    pub open_for: Duration,
    /// Whether answers are cached under leases of the leader. Not with a mirror.
    pub leases: bool,
    /// Which member answers queries. Nothing is cached with [`ReadFrom::Nearest`]: leases come from
    /// the leader. Not with a mirror.
    pub read_from: ReadFrom,
    /// Where queries are answered, if not by the origin.
    pub mirror: Option<MirrorOptions>,
}

/// Which member of the cluster answers queries. The answers are linearizable in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadFrom {
    /// The leader.
    #[default]
    Leader,
    /// The one with the shortest way there and back; the leader where that one cannot.
    Nearest,
}

/// A mirror that answers a session's queries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorOptions {
    /// The volume at the mirror.
    pub url: MetaUrl,
    /// How long the mirror may take to apply what a query must see, before the origin is asked.
    pub wait: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            slots: 256,
            queries: 256,
            info: Vec::new(),
            retry_for: None,
            open_for: Duration::from_secs(10),
            leases: false,
            read_from: ReadFrom::Leader,
            mirror: None,
        }
    }
}
