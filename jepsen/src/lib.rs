//! Drives the real binaries under faults: starts nodes and mounts as processes, kills and pauses
//! them by their handles, records what clients were told, and checks it afterwards.
//!
//! What this crate does not know: how a node or a client works inside. It sees processes, sockets,
//! mount points, and the answers of `meta-client`.
//!
//! Start reading at [`cluster`], then [`mount`]; [`demo`] is the proof a person runs, [`campaign`]
//! what `jepsen run` checks.

pub mod alone;
pub mod binaries;
pub mod campaign;
pub mod checker;
pub mod cluster;
pub mod crash_points;
pub mod curlew;
pub mod demo;
pub mod fixture;
pub mod freezer;
pub mod fsx;
pub mod fuse;
pub mod fuzz;
pub mod history;
pub mod http;
pub mod loop_image;
pub mod many;
pub mod model;
pub mod mount;
pub mod network;
pub mod pair;
pub mod pjdfstest;
pub mod playground;
pub mod port;
pub mod power;
pub mod process;
pub mod proof;
pub mod proxy;
pub mod s3_server;
pub mod scratch;
pub mod seed;
pub mod wait;
pub mod writer;
