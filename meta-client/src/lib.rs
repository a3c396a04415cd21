//! A client's way to a Curlew cluster: finds the leader, keeps one stream to it, and has each
//! operation done exactly once across failovers.
//!
//! What this crate does not know: files, FUSE, caches, where blocks lie, how Raft works. It knows
//! which node leads, which slots of a session are in use, and what may have been executed.
//!
//! Start reading at [`MetaSession`]; how a request survives a failover is in `propose`, how the
//! leader is found in `hunt` and `lead`.
#![warn(missing_docs)]

mod backoff;
pub mod bench;
mod changelog;
mod cluster;
mod deadline;
mod dump;
mod endpoint;
mod error;
mod hunt;
mod lead;
mod leases;
mod link;
mod lock_waits;
mod members;
mod mirroring;
mod node;
mod options;
mod pace;
mod precheck;
mod propose;
mod quota;
mod remove_tree;
mod session;
mod slots;
pub mod transport;
mod trash;
mod url;

pub use changelog::{
    Changelog, ChangelogError, FollowEvent, FollowHead, Following, LoadHead, LoadPage, Loading,
    RowsHash, RowsRange, read_record,
};
pub use cluster::Cluster;
pub use dump::{Dump, DumpError, DumpInfo, Dumped, dump};
pub use error::{ClientError, Failure};
pub use leases::{Forgets, Forgotten, HandedOn, LeaseStatus};
pub use meta_core;
pub use mirroring::{Difference, MirrorInfo, Mirroring, Verified};
pub use node::{
    Initialised, Member, MirrorStatus, NodeStatus, VolumeStatus, init, node_status,
    transfer_leader, trigger_snapshot,
};
pub use options::{MirrorOptions, ReadFrom, SessionOptions};
pub use remove_tree::{Doomed, Stays, TreeEvent};
pub use session::{
    ConnectionStatus, HeldInodes, LockEnd, LockWish, MetaSession, MirrorCounts, MirrorRouteStatus,
    NearestCounts, NearestStatus,
};
pub use trash::{Found, TrashEvent, Way, Which};
pub use url::{MetaUrl, UrlError};
