//! Clients against three real nodes in one process.

mod acls;
mod cluster;
mod follower_reads;
mod lease_reads;
mod locks;
mod paths;
mod trash;
