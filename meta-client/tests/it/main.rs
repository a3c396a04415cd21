//! The client against a scripted cluster: real streams on loopback, a model of sessions and slots
//! instead of Raft.

mod cluster;
mod exactly_once;
mod failover;
mod fake;
mod lost_session;
mod nearest;
mod paths;
mod queries;
mod session;
